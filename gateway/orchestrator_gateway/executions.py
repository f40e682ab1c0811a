"""The calls of one execution: which were answered, which are on their way, and which a try has had already."""

import asyncio
from collections import Counter, OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from orchestrator_gateway.fingerprints import Fingerprint
from orchestrator_gateway.journal import Answer, Answered, Journal, Scope

EXECUTIONS: Final = 10_000
"""How many executions are kept in memory; others are read from the journal again."""


@dataclass(eq=False)
class Pending:
    """A call that an upstream is answering; `answer` is set once it is in the journal."""

    attempt: str
    fingerprint: Fingerprint
    answer: "asyncio.Future[Answer]" = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )


class ExecutionCalls:
    """What a retry may be served.

    A call gets the answer of an equal one that its own try has not had yet: exactly equal ones first, in their order,
    then those that differ only in what the guest made up. So two equal calls of one try are two calls in any order.
    """

    def __init__(self, scope: Scope, answered: Sequence[Answered], known: frozenset[str]) -> None:
        """Begin with what the journal holds; `known` are digests of words that are not volatile."""
        self.scope = scope
        self._answered = list(answered)
        self._pending: list[Pending] = []
        self._had: dict[str, set[int | Pending]] = {}
        self.known = known.union(*(call.words for call in answered))

    @property
    def busy(self) -> bool:
        """Whether calls are on their way."""
        return bool(self._pending)

    def claim(self, attempt: str, wanted: Fingerprint) -> Answered | Pending | None:
        """Return the call whose answer this one is to get; None when it is a new one."""
        had = self._had.setdefault(attempt, set())
        for exact in (True, False):
            for call in self._answered:
                same = call.exact == wanted.exact if exact else call.loose == wanted.loose
                if same and call.attempt != attempt and call.number not in had:
                    had.add(call.number)
                    return call
            for pending in self._pending:
                there = pending.fingerprint
                same = there.exact == wanted.exact if exact else there.loose == wanted.loose
                if same and pending.attempt != attempt and pending not in had:
                    had.add(pending)
                    return pending
        return None

    def begin(self, attempt: str, wanted: Fingerprint) -> Pending:
        """Note a new call."""
        pending = Pending(attempt, wanted)
        self._pending.append(pending)
        return pending

    def end(self, pending: Pending, recorded: Answered | None, answer: Answer | BaseException) -> None:
        """Note that a call was answered and recorded, or failed, and tell those that wait for it."""
        self._pending.remove(pending)
        for had in self._had.values():
            if pending in had:
                had.discard(pending)
                if recorded is not None:
                    had.add(recorded.number)
        if recorded is not None:
            self._answered.append(recorded)
            self.known |= recorded.words
        if isinstance(answer, Answer):
            pending.answer.set_result(answer)
        elif not pending.answer.cancelled():
            pending.answer.set_exception(answer)
            pending.answer.exception()  # seen, also where nobody waits


class Executions:
    """The executions that a gateway serves."""

    def __init__(self, journal: Journal) -> None:
        """Begin with none in memory."""
        self._journal = journal
        self._calls: OrderedDict[Scope, ExecutionCalls] = OrderedDict()
        self._reading: dict[Scope, asyncio.Task[ExecutionCalls]] = {}

    async def calls(self, scope: Scope, known: frozenset[str]) -> ExecutionCalls:
        """Return the calls of a scope, read from the journal when they are not in memory.

        Raises:
            JournalUnavailable: They cannot be read.
        """
        found = self._calls.get(scope)
        if found is None:
            reading = self._reading.get(scope)
            if reading is None:
                reading = asyncio.create_task(self._read(scope, known))
                self._reading[scope] = reading
                reading.add_done_callback(lambda _: self._reading.pop(scope, None))
            found = await asyncio.shield(reading)
        self._calls.move_to_end(scope)
        return found

    def forget(self, tenant: str, executions: Sequence[str]) -> None:
        """Drop executions from memory."""
        names = set(executions)
        for scope in [s for s in self._calls if s.tenant == tenant and s.execution in names]:
            del self._calls[scope]

    def counts(self) -> Counter[str]:
        """Return how many executions are in memory, and how many of them have calls on their way."""
        return Counter(kept=len(self._calls), busy=sum(calls.busy for calls in self._calls.values()))

    async def _read(self, scope: Scope, known: frozenset[str]) -> ExecutionCalls:
        calls = ExecutionCalls(scope, await self._journal.answered(scope), known)
        self._calls[scope] = calls
        if len(self._calls) > EXECUTIONS:
            oldest = next((old for old, kept in self._calls.items() if old != scope and not kept.busy), None)
            if oldest is not None:
                del self._calls[oldest]
        return calls
