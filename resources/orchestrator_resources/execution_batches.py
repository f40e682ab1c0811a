"""Many executions of one agent: a bounded number in flight, one row each, and a policy for those that fail."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from orchestrator_gateway.ledger import SpentByExecutions
from orchestrator_gateway.tokens import ExecutionBudget
from orchestrator_resources.approvals import Request
from orchestrator_resources.execution_traces import ExecutionTrace, Trace
from orchestrator_resources.guest_pool import Agent
from orchestrator_runtimes.client import OnEvent
from orchestrator_runtimes.errors import AgentError, ErrorCode
from orchestrator_runtimes.events import Event
from orchestrator_runtimes.json_values import Json
from orchestrator_runtimes.messages import FinishReason, Limits, ModelAddress, Result, Resume, Run, Usage

AddressOf = Callable[["Item", str, str | None], ModelAddress | None]
"""Where one try of an item's execution sends its model calls, given the loaded agent's digest and the trace context of
the execution; None for nowhere."""

RunExecution = Callable[[Agent, Callable[[str], Run | Resume], OnEvent], Awaitable[Result]]


@dataclass(frozen=True, kw_only=True)
class Item:
    """One execution to run.

    Attributes:
        key: What people call it, such as a row's name; unique in its batch.
        execution: Its id: the same for the same work in a retry.
        inputs: What the agent gets.
        session: Its conversation; None keeps nothing.
        personal: What its marked fields hold, to be found where something repeats it.
    """

    key: str
    execution: str
    inputs: Json
    session: str | None = None
    personal: frozenset[str] = field(default=frozenset(), repr=False)


@dataclass(frozen=True, kw_only=True)
class Row:
    """How one execution ended.

    Attributes:
        key: Of its item.
        result: None where it failed.
        error: None where it did not fail.
        replayed: True when an earlier try of the step has finished it.
        waiting: The decisions that it waits for; empty for one that has ended for good.
    """

    key: str
    result: Result | None = None
    error: AgentError | None = None
    replayed: bool = False
    waiting: Sequence[Request] = ()

    @property
    def usage(self) -> Usage:
        """What it consumed, also when it failed."""
        if self.result is not None:
            return self.result.usage
        usage = getattr(self.error, "usage", None)
        return usage if isinstance(usage, Usage) else Usage()


@dataclass(frozen=True, kw_only=True)
class FailurePolicy:
    """What failed executions mean for the batch.

    Attributes:
        kind: `fail` ends the batch at the first; `keep` never; `threshold` when more than `share` failed.
        share: Of all items, 0 to 1.
    """

    kind: Literal["fail", "keep", "threshold"] = "fail"
    share: float = 0.0

    def allowed(self, total: int) -> int:
        """Return how many of `total` may fail."""
        return {"fail": 0, "keep": total, "threshold": int(self.share * total)}[self.kind]


class FinishedStore(Protocol):
    """Remembers finished executions across tries of a step; see `FinishedExecutions`."""

    def get(self, executions: Sequence[str]) -> dict[str, Result]:
        """Return the results of those that have finished."""
        ...

    def put(self, results: Mapping[str, Result]) -> None:
        """Remember results, by execution; durable when this returns."""
        ...


class Questions(Protocol):
    """What executions ask people; see `approval_desk.Questions`."""

    def standing(self, executions: Sequence[str]) -> Mapping[str, Sequence[Request]]:
        """Return what executions asked before, by execution."""
        ...

    def waiting(self, execution: str, output: Json) -> Sequence[Request]:
        """Return what an execution waits for that ended as interrupted with this output."""
        ...


@dataclass(frozen=True, kw_only=True)
class BatchSettings:
    """How a batch runs.

    Attributes:
        limits: Of each try of an execution.
        name: Of the agent, as people call it and as its budget names it.
        location: The code location that it belongs to; empty where it is not known.
        budget: Of each execution, all its tries together.
        model: Where model calls go; None for agents that make none.
        in_flight: Most executions at once. Waiting for a model costs this machine next to nothing; the default is what
            most endpoints take from one client.
        failures: What failed ones mean.
        retried: Whether the batch is tried again when it fails; those that failed and may pass are left to that then,
            also where the policy would keep them.
        output_schema: What each output must match; None checks nothing.
        stream: True asks for tokens.
        journal: Whether tool calls are journaled, so that a retry does not make finished ones again.
        trace: That the executions belong to; None starts none.
        run: Id of the Dagster run; None outside of any.
        bundle: `publisher/agent:version` of a published agent, whose use is counted; empty for an agent of one's own.
    """

    limits: Limits = field(default_factory=Limits)
    name: str = ""
    location: str = ""
    budget: ExecutionBudget = field(default_factory=ExecutionBudget)
    model: ModelAddress | None = None
    in_flight: int = 64
    failures: FailurePolicy = field(default_factory=FailurePolicy)
    retried: bool = False
    output_schema: Mapping[str, Json] | None = None
    stream: bool = False
    journal: bool = False
    trace: Trace | None = None
    run: str | None = None
    bundle: str = ""


def _untold(_item: Item) -> ExecutionTrace:
    """Return the trace of an execution that belongs to none."""
    return ExecutionTrace(None, lambda _report: None)


class BatchFailed(AgentError):
    """More executions failed than the policy allows, or some that may pass in the next try.

    Attributes:
        rows: Of every execution that ended, in order.
        spent: What all executions spent in all their tries, the unfinished ones included; None when no gateway told it.
    """

    rows: tuple[Row, ...] = ()
    spent: SpentByExecutions | None = None


class _Enough(Exception):
    """A worker saw more failures than the policy allows."""


class _Keeper:
    """Stores results in groups: those that come while others are being stored are stored together.

    A store makes each of its transactions durable, which takes a disk milliseconds however many results are in it.
    """

    def __init__(self, store: FinishedStore) -> None:
        self._store = store
        self._waiting: dict[str, Result] = {}
        self._stored: asyncio.Future[None] | None = None
        self._storing: asyncio.Task[None] | None = None

    async def keep(self, execution: str, result: Result) -> None:
        """Return when a result is stored.

        Raises:
            AgentError: It cannot be stored.
        """
        self._waiting[execution] = result
        if self._stored is None:
            self._stored = asyncio.get_running_loop().create_future()
            # seen, also where everyone who waits for it is cancelled
            self._stored.add_done_callback(lambda stored: stored.cancelled() or stored.exception())
        stored = self._stored
        if self._storing is None:
            self._storing = asyncio.create_task(self._store_waiting())
        await asyncio.shield(stored)

    async def close(self) -> None:
        """Wait until everything is stored, or cannot be."""
        if self._storing is not None:
            await self._storing

    async def _store_waiting(self) -> None:
        while self._stored is not None:
            results, self._waiting = self._waiting, {}
            stored, self._stored = self._stored, None
            try:
                await asyncio.to_thread(self._store.put, results)
            except Exception as error:  # the boundary: told to everyone whose result is among them
                stored.set_exception(error)
            else:
                stored.set_result(None)
        self._storing = None


class Batch:
    """One batch on its way.

    Attributes:
        rows: By index of the item; filled as executions end.
    """

    def __init__(
        self,
        agent: Agent,
        items: Sequence[Item],
        settings: BatchSettings,
        address_of: AddressOf | None = None,
        questions: Questions | None = None,
        traces: Callable[[Item], ExecutionTrace] = _untold,
    ) -> None:
        """Prepare; `run` does the work.

        Args:
            agent: What to run.
            items: The executions.
            settings: How.
            address_of: Asked for each try; None means `settings.model` for all.
            questions: What executions ask; None makes one that is interrupted a failed one.
            traces: Begins the trace of an item's execution.
        """
        self._traces = traces
        self._address_of = address_of
        self._questions = questions
        self._asked: Mapping[str, Sequence[Request]] = {}
        self._agent = agent
        self._items = items
        self._settings = settings
        self.rows: dict[int, Row] = {}
        self.failed = 0

    async def run(
        self,
        run_execution: RunExecution,
        finished: FinishedStore,
        on_event: Callable[[Item, Event], None],
        on_row: Callable[[Row], None],
    ) -> list[Row]:
        """Run every item that an earlier try has not finished, and return one row for each, in order.

        Args:
            run_execution: Runs one, such as `GuestPool.run`.
            finished: Where results are kept until the asset is materialized.
            on_event: Called for each event; must not block.
            on_row: Called when an execution has ended; must not block.

        Raises:
            BatchFailed: More failed than the policy allows; what was running is cancelled.
            AgentError: `state_unavailable` when results cannot be kept; those kept before are still there.
        """
        known = await asyncio.to_thread(finished.get, [item.execution for item in self._items])
        for index, item in enumerate(self._items):
            if item.execution in known:
                self._note(index, Row(key=item.key, result=known[item.execution], replayed=True), on_row)
        open_items = [item.execution for index, item in enumerate(self._items) if index not in self.rows]
        if self._questions is not None:
            self._asked = await asyncio.to_thread(self._questions.standing, open_items)
        keeper = _Keeper(finished)
        waiting = iter([index for index in range(len(self._items)) if index not in self.rows])
        workers = [
            asyncio.create_task(self._work(waiting, run_execution, keeper, on_event, on_row))
            for _ in range(min(self._settings.in_flight, len(self._items)))
        ]
        try:
            if workers:
                await asyncio.wait(workers, return_when=asyncio.FIRST_EXCEPTION)
        finally:
            for worker in workers:
                worker.cancel()
            outcomes = await asyncio.gather(*workers, return_exceptions=True)
            await keeper.close()
        unexpected = [
            outcome
            for outcome in outcomes
            if isinstance(outcome, Exception) and not isinstance(outcome, _Enough)
        ]
        if unexpected:
            raise unexpected[0]
        rows = [self.rows[index] for index in sorted(self.rows)]
        if self.failed > self._settings.failures.allowed(len(self._items)):
            kind = self._settings.failures.kind
            raise self._failure(rows, _failed(rows), f", more than the policy {kind!r} allows")
        passing = [(row, error) for row, error in _failed(rows) if error.code.retryable]
        if passing and self._settings.retried:
            raise self._failure(rows, passing, " and may pass in a retry")
        return rows

    async def _work(
        self,
        waiting: Iterator[int],
        run_execution: RunExecution,
        keeper: _Keeper,
        on_event: Callable[[Item, Event], None],
        on_row: Callable[[Row], None],
    ) -> None:
        for index in waiting:
            item = self._items[index]

            open_requests = [r for r in self._asked.get(item.execution, ()) if r.decision is None]
            if open_requests:
                self._note(index, _waiting_row(item, open_requests), on_row)
                continue
            waits: Sequence[Request] = ()
            try:
                result = await self._execute(item, run_execution, on_event)
                if result.finish_reason is FinishReason.INTERRUPTED:
                    waits = await self._waits(item, result)
            except AgentError as error:
                self._note(index, Row(key=item.key, error=error), on_row)
                if self.failed > self._settings.failures.allowed(len(self._items)):
                    raise _Enough from error
                continue
            self._note(index, Row(key=item.key, result=result, waiting=waits), on_row)
            if waits:
                continue  # it has not finished
            await keeper.keep(item.execution, result)  # its faults are the batch's, not the item's

    async def _execute(
        self, item: Item, run_execution: RunExecution, on_event: Callable[[Item, Event], None]
    ) -> Result:
        """Run one execution, and tell its trace how it ended."""
        trace = self._traces(item)

        async def tell(event: Event) -> None:
            trace.on_event(event)
            on_event(item, event)

        def request(agent: str) -> Run | Resume:
            trace.loaded(agent)
            return self._request(agent, item, trace.traceparent)

        try:
            result = await run_execution(self._agent, request, tell)
        except BaseException as error:
            trace.failed(error)
            raise
        trace.ended(result)
        return result

    async def _waits(self, item: Item, result: Result) -> Sequence[Request]:
        if self._questions is None:
            raise AgentError(
                ErrorCode.FRAMEWORK_ERROR, "the agent waits for a decision, and nobody can be asked"
            )
        return await asyncio.to_thread(self._questions.waiting, item.execution, result.output)

    def _request(self, agent: str, item: Item, traceparent: str | None) -> Run | Resume:
        run = self._run(agent, item, traceparent)
        native = [asked for asked in self._asked.get(item.execution, ()) if asked.kind == "native"]
        return Resume(run=run, decision=_told(native[-1])) if native else run

    def _run(self, agent: str, item: Item, traceparent: str | None) -> Run:
        settings = self._settings
        address = settings.model
        if self._address_of is not None:
            address = self._address_of(item, agent, traceparent)
        return Run(
            execution=item.execution,
            agent=agent,
            inputs=item.inputs,
            session=item.session,
            limits=settings.limits,
            model=address,
            output_schema=settings.output_schema,
            stream=settings.stream,
            journal=settings.journal,
            traceparent=traceparent,
        )

    def _note(self, index: int, row: Row, on_row: Callable[[Row], None]) -> None:
        self.rows[index] = row
        self.failed += row.error is not None
        on_row(row)

    def _failure(self, rows: list[Row], failed: list[tuple[Row, AgentError]], how: str) -> BatchFailed:
        row, first = failed[0]
        if len(self._items) == 1:
            told = BatchFailed(first.code, first.message, cause=first.cause, detail=first.detail)
        else:
            code = next((error.code for _, error in failed if error.code.retryable), first.code)
            told = BatchFailed(
                code,
                f"{len(failed)} of {len(self._items)} executions failed{how}; the first is {row.key!r}",
                cause=str(first),
            )
        told.rows = tuple(rows)
        return told


def _failed(rows: Sequence[Row]) -> list[tuple[Row, AgentError]]:
    return [(row, row.error) for row in rows if row.error is not None]


def _waiting_row(item: Item, waits: Sequence[Request]) -> Row:
    """Return the row of an execution that an earlier run left waiting: nothing is run for it."""
    output = [request.question for request in waits]
    result = Result(output=output, finish_reason=FinishReason.INTERRUPTED, usage=Usage(), seconds=0.0)
    return Row(key=item.key, result=result, waiting=waits)


def _told(asked: Request) -> Json:
    """Return what a framework's own interrupt is answered with."""
    decision = asked.decision
    assert decision is not None  # one that waits is not run
    if decision.answer is not None:
        return decision.answer
    return {"approved": decision.verdict == "approved", "reason": decision.reason}
