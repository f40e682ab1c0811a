"""The guests of one runtime: started when needed, replaced when they crash, a few processes for many executions."""

import asyncio
import os
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Final

from orchestrator_resources.lone_guests import LoneGuest
from orchestrator_runtimes import spares
from orchestrator_runtimes.client import ApprovalDesk, Bundle, OnEvent, SessionStore, StepJournal
from orchestrator_runtimes.connection import BUSY
from orchestrator_runtimes.errors import AgentError, ErrorCode
from orchestrator_runtimes.events import Event
from orchestrator_runtimes.guest_commands import GuestCommand
from orchestrator_runtimes.launch import GuestProcess
from orchestrator_runtimes.messages import AgentSource, Initialized, Loaded, ModelAddress, Result, Resume, Run

SPREAD_AT: Final = 32
"""Executions at once for each process: of the costliest framework (about 80 ms of CPU each), so many keep a core busy
for as long as another process takes to start."""

ATTEMPTS: Final = 3
"""Tries of an execution whose guest crashed; the last one runs alone, so that a neighbour's crash cannot end it."""

_UNBEGUN: Final = 2
"""Further tries for an execution that had not begun when its guest crashed: it may have met one that was dying."""

_FULL_SECONDS: Final = 600.0
_FULL_PAUSE_SECONDS: Final = 0.2

_CRASHES: Final = 10
"""Crashes of one pool before it gives up: the runtime is broken rather than unlucky."""


@dataclass(frozen=True, kw_only=True)
class Agent:
    """An agent to run.

    Attributes:
        source: What it is.
        bundle: Its code; None when it needs none.
        gateway: Returns where the gateway is that its MCP servers are behind; None where it has no such servers.
    """

    source: AgentSource
    bundle: Bundle | None = None
    gateway: Callable[[], ModelAddress] | None = None


class GuestPool:
    """Runs executions of one runtime's agents.

    Args:
        command: How its guests are started.
        processes: Most guest processes at once; None means one for each core.
        sessions: Keeps the state of sessions; None makes them unavailable.
        journal: Keeps finished tool calls; None makes requests with a journal fail.
        approvals: Keeps what tool calls ask people; None makes tools that ask fail.
    """

    def __init__(
        self,
        command: GuestCommand,
        *,
        processes: int | None = None,
        sessions: SessionStore | None = None,
        journal: StepJournal | None = None,
        approvals: ApprovalDesk | None = None,
    ) -> None:
        """Begin with no guest."""
        self._command = command
        self._processes = processes or os.cpu_count() or 1
        self._sessions = sessions
        self._journal = journal
        self._approvals = approvals
        self._guests: list[GuestProcess] = []
        self._outgrown: list[GuestProcess] = []
        self._ending: set[asyncio.Task[None]] = set()
        self._starting: set[asyncio.Task[None]] = set()
        self._together = False
        self._begun: dict[GuestProcess, int] = {}
        self._loads: dict[tuple[GuestProcess, str], asyncio.Future[Loaded]] = {}
        self._asked = 0
        self._changed = asyncio.Event()
        self._lone = LoneGuest(
            lambda: self._started_guest(replace(command.own, max_executions=1)), self._forget
        )
        self._spread_at = (
            command.max_executions if command.shared else SPREAD_AT
        )  # it is shared as its start costs
        self._crashes = 0
        self._failed_starts: list[AgentError] = []
        self._slots = asyncio.Semaphore(self._processes * command.max_executions)

    def running(self) -> dict[int, int]:
        """Return how many executions each running guest has, by its process id."""
        return {guest.pid: self._load_of(guest) for guest in self._guests if guest.running}

    async def describe(self) -> Initialized:
        """Return what a guest says of itself; starts one if none runs."""
        running = next((guest for guest in self._guests if guest.running), None)
        if running is not None:
            return running.client.runtime
        async with self._place() as guest:
            return guest.client.runtime

    async def load(self, agent: Agent) -> Loaded:
        """Make an agent ready in one guest, to learn early whether it can be.

        Raises:
            AgentError: As the guest says.
        """
        async with self._place() as guest:
            return await self._load(guest, agent)

    async def run(self, agent: Agent, make_run: Callable[[str], Run | Resume], on_event: OnEvent) -> Result:
        """Run one execution; waits while every process is full.

        A guest that crashes takes its executions with it; they are tried again in another one, last of all alone.

        Args:
            agent: What to run.
            make_run: Makes the request, given the loaded agent's digest; of an execution that waited, to go on.
            on_event: Awaited for each event.

        Raises:
            AgentError: How it failed.
        """
        self._asked += 1
        try:
            async with self._slots:
                return await self._tried(agent, make_run, on_event)
        finally:
            self._asked -= 1

    async def close(self) -> None:
        """End every guest within its grace period; where a runtime proved good, one is left for the next run."""
        starting = list(self._starting)
        for task in starting:
            task.cancel()
        await asyncio.gather(*starting, *self._ending, return_exceptions=True)
        await self._lone.close()
        guests, self._guests = [*self._guests, *self._outgrown], []
        await asyncio.gather(*(guest.stop() for guest in guests))
        if guests and not self._crashes and not self._command.shared:
            await asyncio.to_thread(spares.leave, self._command)

    async def _tried(
        self, agent: Agent, make_run: Callable[[str], Run | Resume], on_event: OnEvent
    ) -> Result:
        crashes, begun = 0, False

        async def noted(event: Event) -> None:
            nonlocal begun
            begun = True
            await on_event(event)

        for _ in range(ATTEMPTS - 1 + _UNBEGUN):
            begun = False
            try:
                async with self._place() as guest:
                    return await self._run_in(guest, agent, make_run, noted)
            except AgentError as error:
                if error.code is not ErrorCode.RUNTIME_CRASHED:
                    raise
            crashes += begun
            if crashes == ATTEMPTS - 1:
                break
        return await self._lone.serve(lambda guest: self._run_in(guest, agent, make_run, on_event))

    async def _run_in(
        self,
        guest: GuestProcess,
        agent: Agent,
        make_run: Callable[[str], Run | Resume],
        on_event: OnEvent,
    ) -> Result:
        try:
            loaded = await self._load(guest, agent)
            result = await self._once_taken(guest, make_run(loaded.agent or ""), on_event)
            self._crashes = 0
            return result
        except AgentError as error:
            if not guest.running or error.code is ErrorCode.RUNTIME_CRASHED:
                raise await self._drop(guest, error) from error
            if error.code is ErrorCode.TIMEOUT and not hasattr(error, "usage"):
                raise await self._drop(guest, error) from error  # it does not even answer: it hangs
            raise

    async def _once_taken(self, guest: GuestProcess, request: Run | Resume, on_event: OnEvent) -> Result:
        """Run an execution, which waits while a shared guest is full of other runs' executions."""
        until = asyncio.get_running_loop().time() + _FULL_SECONDS
        while True:
            try:
                if isinstance(request, Resume):
                    return await guest.client.resume(request.run, request.decision, on_event)
                return await guest.client.run(request, on_event)
            except AgentError as error:
                full = guest.shared and error.detail.get("jsonrpc") == str(BUSY)
                if not full or asyncio.get_running_loop().time() > until:
                    raise
            await asyncio.sleep(_FULL_PAUSE_SECONDS)

    async def _load(self, guest: GuestProcess, agent: Agent) -> Loaded:
        """Load an agent into a guest once, however many executions ask at the same time."""
        key = guest, f"{agent.bundle.digest if agent.bundle else ''} {agent.source}"
        if key not in self._loads:
            self._loads[key] = asyncio.ensure_future(
                guest.client.load(
                    agent.source, agent.bundle, agent.gateway() if agent.gateway is not None else None
                )
            )
        try:
            return await asyncio.shield(self._loads[key])
        except AgentError:
            self._loads.pop(key, None)  # a later execution may find a bundle mended or a server up
            raise

    def _forget(self, guest: GuestProcess) -> None:
        """Keep nothing of a guest that has ended."""
        self._loads = {key: value for key, value in self._loads.items() if key[0] is not guest}

    async def _drop(self, guest: GuestProcess, error: AgentError) -> AgentError:
        """Take a guest out of use and return what is to be told of it."""
        if guest not in self._guests:
            return error
        self._guests.remove(guest)
        self._crashes += 1
        self._forget(guest)
        told = error if error.code is ErrorCode.TIMEOUT else await guest.crash("crashed")
        await guest.stop(broken=True)
        return told

    @asynccontextmanager
    async def _place(self) -> AsyncGenerator[GuestProcess]:
        """Take the guest with the least to do, with room for one more execution; wait for one where there is none."""
        guest = await self._guest_with_room()
        self._begun[guest] = self._begun.get(guest, 0) + 1
        try:
            yield guest
        finally:
            self._begun[guest] -= 1
            self._replace_outgrown(guest)
            if not self._begun[guest] and (guest not in self._guests or not guest.running):
                del self._begun[guest]
            self._tell_change()

    def _replace_outgrown(self, guest: GuestProcess) -> None:
        """Give a guest that has grown too much no more to do, and end it when it has nothing left to do."""
        if guest in self._guests and guest.outgrown(self._begun[guest]):
            self._guests.remove(guest)
            self._outgrown.append(guest)
            guest.retire()
        if guest in self._outgrown and not self._begun[guest]:
            self._outgrown.remove(guest)
            self._forget(guest)
            task = asyncio.create_task(guest.stop())
            self._ending.add(task)
            task.add_done_callback(self._ending.discard)

    async def _guest_with_room(self) -> GuestProcess:
        while True:
            if self._crashes >= _CRASHES:
                raise AgentError(
                    ErrorCode.RUNTIME_CRASHED,
                    f"the runtime {self._command.framework!r} crashed {self._crashes} times in a row",
                )
            self._guests = [guest for guest in self._guests if guest.running]
            self._start_missing()
            free = min(self._guests, key=self._load_of, default=None)
            if free is not None and self._load_of(free) < self._limit():
                return free
            failed = len(self._failed_starts)
            await self._changed.wait()
            if len(self._failed_starts) > failed and not self._guests:
                raise self._failed_starts[-1]

    def _limit(self) -> int:
        """Return how many executions a guest takes now.

        Of the first guests, which start together, none takes more than its share before all of them run. Later ones are
        not waited for: their start may take longer than the executions.
        """
        if not (self._starting and self._together):
            return self._command.max_executions
        share = -(-self._asked // (len(self._guests) + len(self._starting)))
        return min(self._command.max_executions, max(share, self._spread_at))

    def _load_of(self, guest: GuestProcess) -> int:
        return self._begun.get(guest, 0)

    def _start_missing(self) -> None:
        """Begin to start as many guests as there is work for."""
        wanted = min(self._processes, max(1, -(-self._asked // self._spread_at)))
        if not self._starting:
            self._together = not self._guests
        for _ in range(wanted - len(self._guests) - len(self._starting)):
            task = asyncio.create_task(self._start(self._next_command()))
            self._starting.add(task)
            task.add_done_callback(self._started)

    def _next_command(self) -> GuestCommand:
        """Return how the next guest starts: there is one shared guest, and beside it those of this pool alone."""
        taken = self._starting or any(guest.shared for guest in self._guests)
        return self._command.own if self._command.shared and taken else self._command

    async def _start(self, command: GuestCommand) -> None:
        guest = await self._started_guest(command)
        self._guests.append(guest)  # the list may be another one by now

    async def _started_guest(self, command: GuestCommand) -> GuestProcess:
        return await GuestProcess.start(
            command, sessions=self._sessions, journal=self._journal, approvals=self._approvals
        )

    def _started(self, task: "asyncio.Task[None]") -> None:
        self._starting.discard(task)
        error = None if task.cancelled() else task.exception()
        others = len(self._guests) + len(self._starting)
        if others and isinstance(error, AgentError) and error.detail.get("guest_server") == "full":
            self._processes = others  # they must do
        elif error is not None:
            self._crashes += 1
            self._failed_starts.append(error if isinstance(error, AgentError) else _unexpected(error))
        self._tell_change()

    def _tell_change(self) -> None:
        """Let those look again who wait for room."""
        self._changed.set()
        self._changed.clear()


def _unexpected(error: BaseException) -> AgentError:
    return AgentError(
        ErrorCode.RUNTIME_CRASHED, "the runtime cannot be started", cause=f"{type(error).__name__}: {error}"
    )
