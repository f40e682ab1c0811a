"""The calls that a gateway makes, and those that it waits for."""

import asyncio
import contextlib
import itertools
import secrets
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Final

from orchestrator_gateway.fingerprints import Fingerprint
from orchestrator_gateway.journal import (
    LEASE_SECONDS,
    Answer,
    Asked,
    Journal,
    JournalUnavailable,
    Scope,
    Superseded,
    Words,
)

EXECUTIONS: Final = 10_000
"""Of how many executions the words are kept in memory; those of others are read from the journal again."""

_FIRST_PAUSE_SECONDS: Final = 0.05
_LONGEST_PAUSE_SECONDS: Final = 0.5
"""How often the journal is asked for an answer that another gateway waits for."""

_RENEWALS: Final = 3
"""How often a call gives a sign of life within its lease: one may be late, and one be lost."""


class StillPending(Exception):
    """An execution reached its limit while another gateway made its call."""


@dataclass(frozen=True, kw_only=True)
class Begun:
    """A call that this gateway is to make; it ends with `Calls.record` or `Calls.release`."""

    scope: Scope
    number: int
    request: str
    ended: asyncio.Event = field(default_factory=asyncio.Event, repr=False)


class Calls:
    """The calls of all executions that one gateway serves.

    Args:
        journal: Decides what a call is to get, for every gateway that shares it.
        lease_seconds: See `JournalLimits.lease_seconds`; the journal's own.
    """

    def __init__(self, journal: Journal, lease_seconds: float = LEASE_SECONDS) -> None:
        """Begin with no call; `keep` gives signs of life."""
        self._journal = journal
        self._name, self._requests = f"{secrets.token_hex(8)}-", itertools.count()
        self._lease_seconds = lease_seconds
        self._begun: dict[int, Begun] = {}
        self._abandoned: OrderedDict[int, Begun] = OrderedDict()
        self._words: OrderedDict[Scope, Words] = OrderedDict()

    async def claim(
        self,
        scope: Scope,
        attempt: str,
        fingerprint: Callable[[frozenset[str]], Fingerprint],
        until: float,
    ) -> Answer | Begun:
        """Return the answer that a call is to get, waiting for whoever makes it, or the call to make.

        Args:
            scope: Whose call.
            attempt: The try that makes it.
            fingerprint: Names the request, given the digests of the words of answers so far.
            until: Unix time at which nobody waits for the answer any more.

        Raises:
            StillPending: It has come.
            JournalUnavailable: Nothing can be said; the call is not made.
        """
        request, pause = f"{self._name}{next(self._requests)}", _FIRST_PAUSE_SECONDS
        words, named = self._words.get(scope, Words()), None
        while True:
            if named is None:
                named = fingerprint(words.digests)
            asked = Asked(
                request=request, attempt=attempt, exact=named.exact, loose=named.loose, answers=words.answers
            )
            claimed = await self._journal.claim(scope, asked)
            number = claimed.number
            if claimed.state == "stale" or number is None:
                words, named = await self._read_words(scope), None
            elif claimed.state == "new":
                begun = Begun(scope=scope, number=number, request=request)
                self._begun[number] = begun
                return begun
            elif claimed.state == "answered":
                with contextlib.suppress(KeyError):  # forgotten since, for its execution is over
                    return await self._journal.answer(scope, number)
            else:
                if time.time() > until:
                    raise StillPending(f"the call {number} is still on its way")
                await self._change(number, pause)
                pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)

    async def record(self, begun: Begun, answer: Answer, words: frozenset[str]) -> None:
        """Remember an answer; durable when this returns.

        Raises:
            JournalUnavailable: It is lost.
            Superseded: Another gateway makes the call by now.
        """
        try:
            await self._journal.record(begun.scope, begun.number, begun.request, answer, words)
        except JournalUnavailable:
            await self.release(begun)
            raise
        except Superseded:
            self._end(begun)
            raise
        known = self._words.get(begun.scope)
        if words and known is not None:
            self._keep(
                begun.scope, Words(answers=known.answers + 1, digests=known.digests | words)
            )  # a wrong count is found by the next claim
        elif words:
            self._keep(begun.scope, Words(answers=1, digests=words))
        self._end(begun)

    async def release(self, begun: Begun) -> None:
        """Note that a call came to nothing; whoever waits for it makes it anew."""
        try:
            await self._journal.release(begun.scope, begun.number, begun.request)
        except JournalUnavailable:
            self._abandoned[begun.number] = begun  # else its lease ends it
            if len(self._abandoned) > EXECUTIONS:
                self._abandoned.popitem(last=False)
        finally:
            self._end(begun)

    def forget(self, tenant: str, executions: Collection[str]) -> None:
        """Drop executions from memory."""
        names = set(executions)
        for scope in [s for s in self._words if s.tenant == tenant and s.execution in names]:
            del self._words[scope]

    def counts(self) -> Counter[str]:
        """Return of how many executions words are in memory, and how many have calls of this gateway on their way."""
        busy = {begun.scope for begun in self._begun.values()}
        return Counter(kept=len(self._words), busy=len(busy))

    async def keep(self) -> None:
        """Give signs of life for calls on their way, until cancelled."""
        while True:
            await asyncio.sleep(self._lease_seconds / _RENEWALS)
            if self._begun:
                with contextlib.suppress(
                    JournalUnavailable
                ):  # told to those whose answers cannot be recorded
                    await self._journal.renew(list(self._begun))

    async def _change(self, number: int, seconds: float) -> None:
        """Wait until a call may have ended."""
        if number in self._abandoned:
            await self._release_late(self._abandoned[number])
            return
        own = self._begun.get(number)
        if own is None:
            await asyncio.sleep(seconds)
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await own.ended.wait()

    async def _release_late(self, begun: Begun) -> None:
        await self._journal.release(begun.scope, begun.number, begun.request)
        self._abandoned.pop(begun.number, None)

    async def _read_words(self, scope: Scope) -> Words:
        words = await self._journal.words(scope)
        self._keep(scope, words)
        return words

    def _keep(self, scope: Scope, words: Words) -> None:
        self._words[scope] = words
        self._words.move_to_end(scope)
        if len(self._words) > EXECUTIONS:
            self._words.popitem(last=False)

    def _end(self, begun: Begun) -> None:
        self._begun.pop(begun.number, None)
        begun.ended.set()
