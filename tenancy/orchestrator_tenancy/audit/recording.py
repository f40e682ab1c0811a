"""Writing to the audit log from a server: what comes at the same time shares a transaction."""

import asyncio
from concurrent.futures import Executor
from typing import Final

from orchestrator_runtimes.errors import AgentError, ErrorCode
from orchestrator_tenancy.audit.audit_log import AuditLog
from orchestrator_tenancy.audit.events import AuditEvent
from orchestrator_tenancy.identities import Identity

RECORDER_KEY: Final = "orchestrator.audit"
"""Where the sign-in leaves a `Recorder` in the ASGI scope, for who decides about what an identity asks for."""

_AT_ONCE: Final = 500
_WAITING: Final = 5_000


class AuditWriter:
    """Adds events to a log, in the order in which they come.

    Args:
        log: Where they go.
        executor: In whose threads, since databases make a thread wait.
    """

    def __init__(self, log: AuditLog, executor: Executor) -> None:
        self._log, self._executor = log, executor
        self._waiting: list[tuple[AuditEvent, asyncio.Future[None]]] = []
        self._writing: asyncio.Task[None] | None = None

    async def write(self, event: AuditEvent) -> None:
        """Add an event, and return when it is durable.

        Raises:
            AgentError: `state_unavailable` when it is not.
        """
        if len(self._waiting) >= _WAITING:
            raise AgentError(ErrorCode.STATE_UNAVAILABLE, f"the audit log is {_WAITING} records behind")
        done = asyncio.get_running_loop().create_future()
        self._waiting.append((event, done))
        if self._writing is None:
            self._writing = asyncio.create_task(self._write())
        await done

    async def _write(self) -> None:
        try:
            while self._waiting:
                batch, self._waiting = self._waiting[:_AT_ONCE], self._waiting[_AT_ONCE:]
                await self._append(batch)
        finally:
            self._writing = None

    async def _append(self, batch: list[tuple[AuditEvent, "asyncio.Future[None]"]]) -> None:
        failed: Exception | None = None
        try:
            events = [event for event, _ in batch]
            await asyncio.get_running_loop().run_in_executor(self._executor, self._log.append, events)
        except Exception as error:  # the boundary: told to everyone whose event is among it
            failed = error
        for _, done in batch:
            if done.cancelled():
                continue
            if failed is None:
                done.set_result(None)
            else:
                done.set_exception(failed)


class Recorder:
    """Records what is decided about what one identity asks for.

    Args:
        writer: Writes it down.
        identity: Who asks.
    """

    def __init__(self, writer: AuditWriter, identity: Identity) -> None:
        self._writer, self._identity = writer, identity

    async def record(self, action: str, *, target: str = "", allowed: bool, reason: str = "") -> None:
        """Write a decision down, and return when it is durable.

        Args:
            action: What was asked for, such as `run.launch`.
            target: What it is about, such as a run's id.
            allowed: Whether it is done.
            reason: Why not, or further facts.

        Raises:
            AgentError: `state_unavailable`; what was asked for should not be done then.
        """
        event = AuditEvent(
            actor=self._identity.subject,
            action=action,
            tenant=self._identity.tenant,
            target=target,
            allowed=allowed,
            reason=reason,
        )
        await self._writer.write(event)
