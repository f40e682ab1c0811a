"""The trusted side of one connection to a guest: load agents, run executions, answer what they ask."""

import asyncio
import base64
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Final, Protocol

from orchestrator_runtimes.codec import decode
from orchestrator_runtimes.connection import Connection
from orchestrator_runtimes.errors import AgentError, ErrorCode
from orchestrator_runtimes.events import Event, EventNotification
from orchestrator_runtimes.json_values import Json
from orchestrator_runtimes.messages import (
    CONTRACT_VERSION,
    MESSAGE_BYTES,
    AgentSource,
    Approval,
    ApprovalAsk,
    Cancel,
    Cancelled,
    Done,
    Initialize,
    Initialized,
    Load,
    Loaded,
    ModelAddress,
    Result,
    Resume,
    Run,
    Shutdown,
    State,
    StateGet,
    StatePut,
    Step,
    StepLookup,
    StepRecord,
)

CONNECT_SECONDS: Final = 120.0
LOAD_SECONDS: Final = 180.0
SHUTDOWN_SECONDS: Final = 5.0
ANSWER_GRACE_SECONDS: Final = 15.0
"""How long beyond its limit an execution's answer may take before the guest counts as hung."""

APPROVALS_SINCE: Final = "1.1"
"""First contract whose guests ask before they run a tool that is marked `approval`."""

_GUEST_REQUESTS: Final = 1_024
_RETRY_SECONDS: Final = 0.02

OnEvent = Callable[[Event], Awaitable[None]]


class SessionStore(Protocol):
    """Keeps the state of sessions; what a guest asks is answered for its own execution's session only."""

    async def get(self, session: str) -> State:
        """Return the state of `session`; version 0 and no text when it is new."""
        ...

    async def put(self, session: str, text: str, version: int) -> None:
        """Store the state of `session` if `version` is still the stored one.

        Raises:
            AgentError: `state_unavailable` when it is not.
        """
        ...


class StepJournal(Protocol):
    """Remembers finished tool calls of executions, across tries."""

    async def lookup(self, request: StepLookup) -> Step:
        """Say what is known of a step."""
        ...

    async def record(self, request: StepRecord) -> None:
        """Remember a step's result; durable when this returns."""
        ...


class ApprovalDesk(Protocol):
    """Keeps what tool calls ask people, and their decisions."""

    async def ask(self, request: ApprovalAsk) -> Approval:
        """Say what was decided about a tool call; what is asked for the first time waits from now on."""
        ...


@dataclass(frozen=True, kw_only=True)
class Bundle:
    """An agent's folder, from `bundles.pack`."""

    digest: str
    archive: bytes


@dataclass
class _Execution:
    session: str | None
    on_event: OnEvent
    failure: Exception | None = None
    ending: "asyncio.Task[None] | None" = None


async def _ignore(_event: Event) -> None:
    """Take an event that nobody asked for."""


class RuntimeClient:
    """One connection to a guest. Make it with `connect`.

    Attributes:
        runtime: What the guest said of itself.
    """

    runtime: Initialized

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        sessions: SessionStore | None,
        journal: StepJournal | None,
        approvals: ApprovalDesk | None = None,
    ) -> None:
        """See `connect`."""
        self._sessions = sessions
        self._journal = journal
        self._approvals = approvals
        self._executions: dict[str, _Execution] = {}
        self._connection = Connection(
            reader,
            writer,
            handlers={
                "state.get": self._state_get,
                "state.put": self._state_put,
                "step.lookup": self._step_lookup,
                "step.record": self._step_record,
                "approval.ask": self._approval_ask,
            },
            notifications={"event": self._event},
            message_bytes=MESSAGE_BYTES,
            requests=_GUEST_REQUESTS,
        )
        self._serving = asyncio.create_task(self._connection.serve())

    @classmethod
    async def connect(
        cls,
        address: str | socket.socket,
        *,
        sessions: SessionStore | None = None,
        journal: StepJournal | None = None,
        approvals: ApprovalDesk | None = None,
        timeout: float = CONNECT_SECONDS,
    ) -> "RuntimeClient":
        """Connect to a guest and agree on the contract.

        Args:
            address: `unix:PATH` or `tcp:HOST:PORT`, or a connected stream socket.
            sessions: Answers `state.*`; None makes sessions unavailable.
            journal: Answers `step.*`; None switches the journal of tool calls off.
            approvals: Answers `approval.ask`; None makes tools that wait for a decision fail.
            timeout: Seconds until the guest must have answered; its framework is imported meanwhile.

        Raises:
            AgentError: `runtime_crashed` when nobody listens in time or the guest speaks another contract.
        """
        try:
            async with asyncio.timeout(timeout):
                client = cls(*await _open(address), sessions, journal, approvals)
        except TimeoutError:
            raise AgentError(
                ErrorCode.RUNTIME_CRASHED, f"no runtime listens on {address!r} after {timeout} s"
            ) from None
        except OSError as error:
            raise AgentError(
                ErrorCode.RUNTIME_CRASHED, f"no runtime can be reached on {address!r}", cause=str(error)
            ) from error
        try:
            client.runtime = await client._connection.call(
                "initialize", Initialize(), Initialized, timeout=timeout
            )
            _check_contract(client.runtime.contract)
        except BaseException:
            await client.close()
            raise
        client._connection.peer_message_bytes = client.runtime.message_bytes
        return client

    @property
    def closed(self) -> bool:
        """True when the guest cannot be reached any more."""
        return self._connection.closed

    @property
    def running(self) -> int:
        """How many executions run over this connection."""
        return len(self._executions)

    async def load(
        self, source: AgentSource, bundle: Bundle | None = None, model: ModelAddress | None = None
    ) -> Loaded:
        """Make an agent ready; the bundle's bytes are sent only when the guest lacks them.

        Args:
            source: What to load.
            bundle: Its code; None when it needs none.
            model: See `Load`.

        Raises:
            AgentError: As the guest says; `runtime_crashed` when it is gone, `timeout` when it hangs.
        """
        if _asks(source) and _version(self.runtime.contract) < _version(APPROVALS_SINCE):
            raise AgentError(
                ErrorCode.AGENT_LOAD_FAILED,
                f"the runtime speaks contract {self.runtime.contract!r:.20} and would run tools marked `approval`"
                f" unasked; it needs {APPROVALS_SINCE}",
            )
        request = Load(source=source, bundle=bundle.digest if bundle else None, model=model)
        loaded = await self._loaded(request)
        if loaded.agent is None and bundle is not None:
            loaded = await self._loaded(replace(request, archive=base64.b64encode(bundle.archive).decode()))
        if loaded.agent is None:
            raise AgentError(ErrorCode.RUNTIME_CRASHED, "the runtime does not take the agent's bundle")
        return loaded

    async def _loaded(self, request: Load) -> Loaded:
        try:
            return await self._connection.call("load", request, Loaded, timeout=LOAD_SECONDS)
        except AgentError as error:
            if error.code is not ErrorCode.TIMEOUT:
                raise
            raise AgentError(
                ErrorCode.TIMEOUT,
                f"the agent did not finish loading within {LOAD_SECONDS:.0f} s: look at what its code does when it is"
                " imported, and at its factory",
            ) from error

    async def run(self, run: Run, on_event: OnEvent = _ignore) -> Result:
        """Run one execution.

        Args:
            run: The request.
            on_event: Awaited for each event, in order; while it waits, the guest is held back. What it raises ends
                this execution, and no other.

        Raises:
            RequestFailed: The execution failed; it carries the usage.
            AgentError: `runtime_crashed` when the guest is gone, `timeout` when it hangs, `invalid_input` when an
                execution of this id runs already.
            Exception: What `on_event` raised.
        """
        return await self._execute(run, "run", run, on_event)

    async def resume(self, run: Run, decision: Json, on_event: OnEvent = _ignore) -> Result:
        """Go on with an interrupted execution; arguments and errors as for `run`."""
        return await self._execute(run, "resume", Resume(run=run, decision=decision), on_event)

    async def _execute(self, run: Run, method: str, request: object, on_event: OnEvent) -> Result:
        if run.execution in self._executions:
            raise AgentError(
                ErrorCode.INVALID_INPUT, f"the execution {run.execution!r:.100} is running already"
            )
        execution = self._executions[run.execution] = _Execution(run.session, on_event)
        try:
            timeout = run.limits.seconds + ANSWER_GRACE_SECONDS
            result = await self._connection.call(method, request, Result, timeout=timeout)
        except asyncio.CancelledError:
            await asyncio.shield(self._give_up(run.execution))
            raise
        except AgentError as error:
            if execution.failure is not None:
                raise execution.failure from error
            raise
        finally:
            del self._executions[run.execution]
        if execution.failure is not None:
            raise execution.failure
        return result

    async def _give_up(self, execution: str) -> None:
        """Cancel an execution that nobody waits for; a guest that is gone has ended it."""
        with suppress(AgentError):
            await self.cancel(execution)

    async def cancel(self, execution: str) -> bool:
        """Cancel an execution; False when it does not run.

        Raises:
            AgentError: `runtime_crashed` when the guest is gone, `timeout` when it hangs.
        """
        answer = await self._connection.call(
            "cancel", Cancel(execution=execution), Cancelled, timeout=ANSWER_GRACE_SECONDS
        )
        return answer.known

    async def shutdown(self, grace_seconds: float = SHUTDOWN_SECONDS) -> None:
        """Ask the guest to finish what runs and end.

        Raises:
            AgentError: `runtime_crashed` when it is gone already.
        """
        request = Shutdown(grace_seconds=grace_seconds)
        await self._connection.call("shutdown", request, Done, timeout=SHUTDOWN_SECONDS)

    async def close(self) -> None:
        """Close the connection; the guest cancels what still runs over it."""
        await self._connection.close()
        await asyncio.wait({self._serving}, timeout=SHUTDOWN_SECONDS)

    async def _event(self, params: Json) -> None:
        notification = decode(EventNotification, params, "event")
        execution = self._executions.get(notification.execution)
        if execution is None or execution.failure is not None:
            return
        try:
            await execution.on_event(notification.event)
        except (
            Exception
        ) as error:  # the boundary: one caller's fault must not end the executions of the others
            execution.failure = error
            execution.ending = asyncio.create_task(self._give_up(notification.execution))

    def _session_of(self, name: str) -> tuple[SessionStore, str]:
        execution = self._executions.get(name)
        if self._sessions is None or execution is None or execution.session is None:
            raise AgentError(ErrorCode.STATE_UNAVAILABLE, f"the execution {name!r:.100} has no session")
        return self._sessions, execution.session

    async def _state_get(self, params: Json) -> State:
        store, session = self._session_of(decode(StateGet, params, "state.get").execution)
        return await store.get(session)

    async def _state_put(self, params: Json) -> Done:
        request = decode(StatePut, params, "state.put")
        store, session = self._session_of(request.execution)
        await store.put(session, request.text, request.version)
        return Done()

    def _journal_of(self, name: str) -> StepJournal:
        if self._journal is None or name not in self._executions:
            raise AgentError(ErrorCode.STATE_UNAVAILABLE, f"the execution {name!r:.100} has no journal")
        return self._journal

    async def _step_lookup(self, params: Json) -> Step:
        request = decode(StepLookup, params, "step.lookup")
        return await self._journal_of(request.execution).lookup(request)

    async def _step_record(self, params: Json) -> Done:
        request = decode(StepRecord, params, "step.record")
        await self._journal_of(request.execution).record(request)
        return Done()

    async def _approval_ask(self, params: Json) -> Approval:
        request = decode(ApprovalAsk, params, "approval.ask")
        if self._approvals is None or request.execution not in self._executions:
            raise AgentError(
                ErrorCode.STATE_UNAVAILABLE,
                f"nobody can be asked for the execution {request.execution!r:.100}",
            )
        return await self._approvals.ask(request)


def _asks(source: AgentSource) -> bool:
    return source.portable is not None and any(tool.approval for tool in source.portable.tools)


def _version(contract: str) -> tuple[int, ...]:
    return tuple(int(part) if part.isdigit() else 0 for part in contract.split(".")[:2])


def _check_contract(version: str) -> None:
    if version.partition(".")[0] != CONTRACT_VERSION.partition(".")[0]:
        raise AgentError(
            ErrorCode.RUNTIME_CRASHED,
            f"the runtime speaks contract {version!r:.20}, this side {CONTRACT_VERSION}:"
            " install versions of the same major number",
        )


async def _open(address: str | socket.socket) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    if isinstance(address, socket.socket):
        return await asyncio.open_unix_connection(sock=address, limit=MESSAGE_BYTES)
    kind, _, place = address.partition(":")
    while True:
        with suppress(FileNotFoundError, ConnectionRefusedError):  # the guest is still starting
            if kind == "unix":
                return await asyncio.open_unix_connection(place, limit=MESSAGE_BYTES)
            host, _, port = place.rpartition(":")
            return await asyncio.open_connection(host, int(port), limit=MESSAGE_BYTES)
        await asyncio.sleep(_RETRY_SECONDS)
