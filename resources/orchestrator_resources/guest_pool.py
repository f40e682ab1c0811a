"""The guests of one runtime: started when needed, replaced when they crash, a few processes for many executions."""

import asyncio
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Final

from orchestrator_runtimes.client import Bundle, OnEvent, SessionStore
from orchestrator_runtimes.errors import AgentError, ErrorCode
from orchestrator_runtimes.launch import GuestCommand, GuestProcess
from orchestrator_runtimes.messages import AgentSource, Initialized, Loaded, Result, Run

SPREAD_AT: Final = 16
"""Executions in every running guest before another process is started."""

ATTEMPTS: Final = 3
"""Tries of an execution whose guest crashed; the last one runs alone, so that a neighbour's crash cannot end it."""

_CRASHES: Final = 10
"""Crashes of one pool before it gives up: the runtime is broken rather than unlucky."""


@dataclass(frozen=True, kw_only=True)
class Agent:
    """An agent to run: what it is, and the bundle of its code; None when it needs none."""

    source: AgentSource
    bundle: Bundle | None = None


class GuestPool:
    """Runs executions of one runtime's agents.

    Args:
        command: How its guests are started.
        processes: Most guest processes at once; None means one for each core.
        sessions: Keeps the state of sessions; None makes them unavailable.
    """

    def __init__(
        self, command: GuestCommand, *, processes: int | None = None, sessions: SessionStore | None = None
    ) -> None:
        """Begin with no guest."""
        self._command = command
        self._processes = processes or os.cpu_count() or 1
        self._sessions = sessions
        self._guests: list[GuestProcess] = []
        self._starting: asyncio.Task[GuestProcess] | None = None
        self._alone = asyncio.Lock()
        self._crashes = 0
        self._loads: dict[tuple[int, str], asyncio.Future[Loaded]] = {}
        self._slots = asyncio.Semaphore(self._processes * command.max_executions)
        self._begun: dict[int, int] = {}

    async def describe(self) -> Initialized:
        """Return what a guest says of itself; starts one if none runs."""
        return (await self._guest()).client.runtime

    async def load(self, agent: Agent) -> Loaded:
        """Make an agent ready in one guest, to learn early whether it can be.

        Raises:
            AgentError: As the guest says.
        """
        return await self._load(await self._guest(), agent)

    async def run(self, agent: Agent, make_run: Callable[[str], Run], on_event: OnEvent) -> Result:
        """Run one execution; waits while every process is full.

        A guest that crashes takes its executions with it; they are tried again in another one, last of all alone.

        Args:
            agent: What to run.
            make_run: Makes the request, given the loaded agent's digest.
            on_event: Awaited for each event.

        Raises:
            AgentError: How it failed.
        """
        async with self._slots:
            for attempt in range(1, ATTEMPTS + 1):
                try:
                    if attempt < ATTEMPTS:
                        return await self._run_in(await self._guest(), agent, make_run, on_event)
                    return await self._run_alone(agent, make_run, on_event)
                except AgentError as error:
                    if error.code is not ErrorCode.RUNTIME_CRASHED or attempt == ATTEMPTS:
                        raise
            raise AssertionError("the last attempt returns or raises")

    async def close(self) -> None:
        """End every guest within its grace period."""
        if self._starting is not None:
            self._starting.cancel()
            with suppress(asyncio.CancelledError, AgentError):
                await self._starting
        guests, self._guests = self._guests, []
        await asyncio.gather(*(guest.stop() for guest in guests))

    async def _run_in(
        self, guest: GuestProcess, agent: Agent, make_run: Callable[[str], Run], on_event: OnEvent
    ) -> Result:
        self._begun[id(guest)] = self._begun.get(id(guest), 0) + 1
        try:
            loaded = await self._load(guest, agent)
            result = await guest.client.run(make_run(loaded.agent or ""), on_event)
            self._crashes = 0
            return result
        except AgentError as error:
            if not guest.running or error.code is ErrorCode.RUNTIME_CRASHED:
                raise await self._drop(guest, error) from error
            if error.code is ErrorCode.TIMEOUT and not hasattr(error, "usage"):
                raise await self._drop(guest, error) from error  # it does not even answer: it hangs
            raise
        finally:
            self._begun[id(guest)] -= 1

    async def _run_alone(self, agent: Agent, make_run: Callable[[str], Run], on_event: OnEvent) -> Result:
        async with self._alone:
            guest = await GuestProcess.start(
                replace(self._command, max_executions=1), sessions=self._sessions
            )
            try:
                return await self._run_in(guest, agent, make_run, on_event)
            finally:
                await guest.stop()

    async def _load(self, guest: GuestProcess, agent: Agent) -> Loaded:
        """Load an agent into a guest once, however many executions ask at the same time."""
        key = id(guest), f"{agent.bundle.digest if agent.bundle else ''} {agent.source}"
        if key not in self._loads:
            self._loads[key] = asyncio.ensure_future(guest.client.load(agent.source, agent.bundle))
        try:
            return await asyncio.shield(self._loads[key])
        except AgentError:
            self._loads.pop(key, None)  # a later execution may find a bundle mended or a server up
            raise

    async def _drop(self, guest: GuestProcess, error: AgentError) -> AgentError:
        """Take a guest out of use and return what is to be told of it."""
        if guest not in self._guests:
            return error
        self._guests.remove(guest)
        self._crashes += 1
        self._loads = {key: value for key, value in self._loads.items() if key[0] != id(guest)}
        told = error if error.code is ErrorCode.TIMEOUT else await guest.crash("crashed")
        await guest.stop()
        return told

    async def _guest(self) -> GuestProcess:
        """Return the guest with the least to do; start one when there is none, or all have enough and a core is free."""
        if self._crashes >= _CRASHES:
            raise AgentError(
                ErrorCode.RUNTIME_CRASHED,
                f"the runtime {self._command.framework!r} crashed {self._crashes} times in a row",
            )
        self._guests = [guest for guest in self._guests if guest.running]
        free = min(self._guests, key=self._load_of, default=None)
        if free is None:
            return await asyncio.shield(self._start())
        if self._load_of(free) >= SPREAD_AT and len(self._guests) < self._processes:
            self._start()
        if self._load_of(free) >= self._command.max_executions and self._starting is not None:
            return await asyncio.shield(self._starting)
        return free

    def _load_of(self, guest: GuestProcess) -> int:
        return self._begun.get(id(guest), 0)

    def _start(self) -> "asyncio.Task[GuestProcess]":
        """Begin to start a guest, or join the start that is under way."""
        if self._starting is None or self._starting.done():
            self._starting = asyncio.create_task(self._started())
            self._starting.add_done_callback(lambda task: task.cancelled() or task.exception())
        return self._starting

    async def _started(self) -> GuestProcess:
        try:
            guest = await GuestProcess.start(self._command, sessions=self._sessions)
        except AgentError:
            self._crashes += 1
            raise
        self._guests.append(guest)
        return guest
