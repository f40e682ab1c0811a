"""How many executions of a tenant call models at once: a further one waits until one of them has no call on its way.

Limits are those of this gateway: each of several that share a journal is told its part of what a tenant may have.
"""

import asyncio
import contextlib
import time
from collections import Counter, OrderedDict
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field
from typing import Final

from orchestrator_gateway.refusals import refusal
from orchestrator_gateway.tenant_settings import TenantSettings

MOST_WAITING: Final = 10_000
"""Calls of one tenant that wait: as many as a run may make at once, some times over."""

_RETRY_SECONDS: Final = 5.0


@dataclass
class _Tenant:
    """The calls of one tenant.

    Attributes:
        most: Executions that may have calls on their way; None sets no limit.
        going: Calls on their way, by execution; none of them is zero.
        waiting: Calls that wait, by execution, in the order in which these came.
    """

    most: int | None = None
    going: Counter[str] = field(default_factory=Counter[str])
    waiting: OrderedDict[str, list[asyncio.Future[None]]] = field(
        default_factory=OrderedDict[str, list[asyncio.Future[None]]]
    )

    @property
    def free(self) -> bool:
        """Whether a further execution may call."""
        return self.most is None or len(self.going) < self.most

    def give(self) -> None:
        """Let go on who may."""
        while self.waiting and self.free:
            execution, calls = self.waiting.popitem(last=False)
            for call in calls:
                if not call.done():
                    self.going[execution] += 1
                    call.set_result(None)

    def leave(self, execution: str) -> None:
        """End a call that went on."""
        self.going[execution] -= 1
        if not self.going[execution]:
            del self.going[execution]
        self.give()


class ExecutionPlaces:
    """Lets calls go on while their tenant has places for their execution."""

    def __init__(self) -> None:
        """Begin without limits."""
        self._settings: Mapping[str, TenantSettings] = {}
        self._tenants: dict[str, _Tenant] = {}

    def configure(self, settings: Mapping[str, TenantSettings]) -> None:
        """Set other limits; calls on their way go on, and those that wait do so by these."""
        self._settings = settings
        for name, tenant in self._tenants.items():
            tenant.most = self._most(name)
            tenant.give()

    @contextlib.asynccontextmanager
    async def place(self, tenant: str, execution: str, until: float) -> AsyncGenerator[None]:
        """Wait for a place, and have it until the block ends; calls of one execution share theirs.

        Args:
            tenant: Whose call it is.
            execution: Which execution makes it.
            until: Unix time at which nobody waits for the answer any more.

        Raises:
            Refused: It may have none, too many wait, or the time is over.
        """
        calls = self._tenants.setdefault(tenant, _Tenant(most=self._most(tenant)))
        try:
            await self._enter(calls, tenant, execution, until)
            try:
                yield
            finally:
                calls.leave(execution)
        finally:
            if not calls.going and not calls.waiting:
                self._tenants.pop(tenant, None)

    def _most(self, tenant: str) -> int | None:
        settings = self._settings.get(tenant)
        return None if settings is None else settings.executions

    async def _enter(self, calls: _Tenant, tenant: str, execution: str, until: float) -> None:
        if execution in calls.going or (calls.free and not calls.waiting):
            calls.going[execution] += 1
            return
        told = f"the tenant {tenant!r:.80} may have {calls.most} executions that call models at once"
        if calls.most == 0:
            raise refusal(403, f"{told}: ask the operator", code="executions_not_allowed")
        if sum(map(len, calls.waiting.values())) >= MOST_WAITING:
            raise refusal(
                429,
                f"{told}, and {MOST_WAITING} calls wait",
                code="queue_full",
                retry_after=_RETRY_SECONDS,
            )
        mine: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        calls.waiting.setdefault(execution, []).append(mine)
        try:
            async with asyncio.timeout(max(0.0, until - time.time())):
                await mine
        except BaseException as error:
            if mine.done() and not mine.cancelled():
                calls.leave(execution)  # the place came while the call gave up
            else:
                _stop_waiting(calls, execution, mine)
            if isinstance(error, TimeoutError):
                raise refusal(
                    429,
                    f"{told}, and the call waited for a place until its execution's time was over",
                    code="waited_in_vain",
                    retry_after=_RETRY_SECONDS,
                ) from error
            raise


def _stop_waiting(calls: _Tenant, execution: str, mine: "asyncio.Future[None]") -> None:
    queue = calls.waiting.get(execution, [])
    if mine in queue:
        queue.remove(mine)
        if not queue:
            del calls.waiting[execution]
