"""Running guests: a process under its guardian, its folder, and the connection to it."""

import asyncio
import shutil
import signal
import socket
import sys
from collections import deque
from contextlib import suppress
from pathlib import Path
from typing import Final

from orchestrator_runtimes import spares
from orchestrator_runtimes.client import (
    CONNECT_SECONDS,
    ApprovalDesk,
    RuntimeClient,
    SessionStore,
    StepJournal,
)
from orchestrator_runtimes.errors import AgentError, ErrorCode
from orchestrator_runtimes.guardians import ChildGuardian, ClaimedGuardian, Guardian, end
from orchestrator_runtimes.guest_commands import GuestCommand, guest_address, make_guest_folder
from orchestrator_runtimes.served_guardian import ServedGuardian

_TAIL_LINES: Final = 20
_EXECUTION_MB: Final = 16
"""What one execution may need while it runs: in n8n 11 MB, most of it the isolate of its expressions."""


class GuestProcess:
    """A running guest and the connection to it. Make it with `start`, end it with `stop`.

    Attributes:
        client: The connection.
        folder: The only folder the guest writes to; it is removed with the guest. None in another container.
        shared: Whether others may use the guest, too.
    """

    def __init__(
        self, command: GuestCommand, folder: Path | None, held: Guardian, *, shared: bool = False
    ) -> None:
        """See `start`."""
        self.folder = folder
        self.shared = shared
        self.client: RuntimeClient
        self._command = command
        self._guardian = held
        self._tail: deque[str] = deque(maxlen=_TAIL_LINES)
        self._reading = asyncio.create_task(self._read_errors())

    @classmethod
    async def start(
        cls,
        command: GuestCommand,
        *,
        sessions: SessionStore | None = None,
        journal: StepJournal | None = None,
        approvals: ApprovalDesk | None = None,
        timeout: float = CONNECT_SECONDS,
    ) -> "GuestProcess":
        """Start a guest and connect to it; a spare one is used where there is one.

        Raises:
            AgentError: `runtime_crashed` when it ends or does not answer in time; the message holds its last words,
                or why a guest server starts none.
        """
        guest = await cls._served(command) or await cls._claimed(command) or await cls._started(command)

        async def connect() -> RuntimeClient:
            return await RuntimeClient.connect(
                await guest._address(timeout),
                sessions=sessions,
                journal=journal,
                approvals=approvals,
                timeout=timeout,
            )

        connecting = asyncio.create_task(connect())
        try:
            ended = asyncio.create_task(guest._guardian.wait())
            await asyncio.wait({connecting, ended}, return_when=asyncio.FIRST_COMPLETED)
            ended.cancel()
            if not connecting.done() or connecting.exception() is not None:
                raise await guest.crash("did not start")
            guest.client = connecting.result()
        except BaseException as error:
            connecting.cancel()
            await guest.stop(broken=isinstance(error, AgentError))
            raise
        return guest

    @classmethod
    async def _claimed(cls, command: GuestCommand) -> "GuestProcess | None":
        spare = await asyncio.to_thread(spares.share if command.shared else spares.claim, command)
        if spare is None:
            return None
        held = await ClaimedGuardian.hold(spare.guardian, spare.connection, spare.errors)
        return cls(command, spare.folder, held, shared=command.shared)

    @classmethod
    async def _started(cls, command: GuestCommand) -> "GuestProcess":
        folder = make_guest_folder(command)
        return cls(command, folder, await ChildGuardian.start(command, folder))

    @classmethod
    async def _served(cls, command: GuestCommand) -> "GuestProcess | None":
        if command.served is None:
            return None
        return cls(command, None, await ServedGuardian.ask(command, command.served))

    async def _address(self, timeout: float) -> str | socket.socket:
        """Return where the guest is, or what leads to it."""
        if isinstance(self._guardian, ServedGuardian):
            return await self._guardian.connection(timeout)
        assert self.folder is not None, "a guest of this container has one"
        return guest_address(self.folder)

    @property
    def running(self) -> bool:
        """True while the process lives and can be reached."""
        return self._guardian.status is None and not self.client.closed

    @property
    def pid(self) -> int:
        """Process id of the guest itself, which its guardian started; on Linux only.

        Raises:
            OSError: It has ended, or is in another container.
        """
        return self._guardian.guest

    async def crash(self, what: str) -> AgentError:
        """Return the error that tells how the guest ended; waits a moment for its last words."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._guardian.wait(), timeout=1.0)
        if self._guardian.fault is not None:
            return self._guardian.fault
        status = self._guardian.status
        how = "it still runs" if status is None else _status(status)
        last = next((line for line in reversed(self._tail) if line.strip()), None)
        return AgentError(
            ErrorCode.RUNTIME_CRASHED,
            f"the runtime {self._command.framework!r} {what}: {how}",
            cause="\n".join(self._tail) if last else None,
        )

    def outgrown(self, executions: int) -> bool:
        """Return whether the guest has more memory than a guest of its framework may keep, as far as that is known.

        Args:
            executions: How many run in it now; what they need is not kept.
        """
        allowed = self._command.replace_above_mb
        if allowed is None:
            return False
        resident = self._guardian.resident_mb()
        return resident is not None and resident > allowed + executions * _EXECUTION_MB

    def retire(self) -> None:
        """Let nobody else use the guest; it ends when its last user stops it."""
        self._guardian.say("retire")

    async def stop(self, *, broken: bool = False) -> None:
        """End the guest and everything below it, and remove its folder; idempotent.

        The guest gets its grace period first; executions that do not end in it are handed back as retryable. A shared
        guest is only left, unless it is broken: then it ends for everyone.
        """
        if broken:
            self._guardian.say("end")
        if self.shared and not broken:
            self._guardian.let_go()
            await self._leave()
            return
        try:
            await end(self._guardian, self._command.grace_seconds)
        finally:
            await self._leave()
            if self.folder is not None:
                shutil.rmtree(self.folder, ignore_errors=True)

    async def _leave(self) -> None:
        if hasattr(self, "client"):
            await self.client.close()
        self._reading.cancel()
        self._guardian.close()

    async def _read_errors(self) -> None:
        """Keep the guest's last words, and pass its standard error on to ours."""
        while True:
            try:
                line = await self._guardian.errors.readline()
            except ValueError:
                continue  # a line longer than the limit was dropped
            if not line:
                return
            text = line.decode(errors="replace")
            self._tail.append(text.rstrip("\n")[:1_000])
            sys.stderr.write(text)


def _status(status: int) -> str:
    if status <= 128:
        return f"it ended with status {status}"
    try:
        return f"it was ended by {signal.Signals(status - 128).name}"
    except ValueError:
        return f"it ended with status {status}"
