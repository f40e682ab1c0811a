"""Whose turn is it? Calls wait here for their upstream's limits, and tenants take turns: no queue delays another.

Limits are those of this gateway: each of several gateways that share an upstream gets its part of what it allows.
"""

import asyncio
import contextlib
import time
from collections import OrderedDict, deque
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from typing import Final

_LONGEST_HOLD_SECONDS: Final = 60.0


class QueueFull(Exception):
    """So many calls wait that a further one is refused."""


class WaitedInVain(Exception):
    """A call's time was over before its turn came."""


@dataclass(frozen=True, kw_only=True)
class TurnLimits:
    """Limits of one upstream.

    Attributes:
        max_concurrent: Most calls at once; None sets no limit.
        requests_per_minute: Spread evenly, with those of one second at once; None sets no limit.
        max_waiting: Most calls that wait.
    """

    max_concurrent: int | None
    requests_per_minute: int | None
    max_waiting: int


class Turns:
    """Gives turns to calls: within a tenant in their order, among tenants one after another.

    Args:
        limits: What is allowed; `change` sets others.
        clock: Seconds that only grow.
    """

    def __init__(self, limits: TurnLimits, clock: Callable[[], float] = time.monotonic) -> None:
        """Begin with nobody waiting."""
        self._limits = limits
        self._clock = clock
        self._waiting: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()
        self._busy = 0
        self._requests = self._most_at_once()
        self._counted = clock()
        self._held_until = clock()
        self._timer: asyncio.TimerHandle | None = None

    @property
    def busy(self) -> int:
        """How many calls have their turn now."""
        return self._busy

    @property
    def waiting(self) -> int:
        """How many calls wait."""
        return sum(map(len, self._waiting.values()))

    @property
    def free(self) -> bool:
        """Whether a call that comes now need not wait."""
        return not self._waiting and self._seconds_to_next() == 0

    @contextlib.asynccontextmanager
    async def turn(self, tenant: str, seconds: float) -> AsyncGenerator[None]:
        """Wait for a turn and have it until the block ends.

        Args:
            tenant: Whose call it is.
            seconds: How long it is worth waiting.

        Raises:
            QueueFull: Too many wait already.
            WaitedInVain: The time was over before.
        """
        if self.free:
            self._take()
        else:
            await self._wait(tenant, seconds)
        try:
            yield
        finally:
            self._busy -= 1
            self._give()

    def hold(self, seconds: float) -> None:
        """Give no turn for some seconds: the upstream asked for it."""
        self._held_until = max(self._held_until, self._clock() + min(seconds, _LONGEST_HOLD_SECONDS))

    def change(self, limits: TurnLimits) -> None:
        """Set other limits; those that wait go on waiting, by these."""
        self._count()
        self._limits = limits
        self._requests = min(self._requests, self._most_at_once())
        self._give()

    async def _wait(self, tenant: str, seconds: float) -> None:
        if self.waiting >= self._limits.max_waiting:
            raise QueueFull
        mine: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(tenant, deque()).append(mine)
        self._give()
        try:
            async with asyncio.timeout(max(0.0, seconds)):
                await mine
        except BaseException as error:
            if mine.done() and not mine.cancelled():
                self._busy -= 1  # the turn came while the call gave up
            else:
                self._leave(tenant, mine)
            self._give()
            if isinstance(error, TimeoutError):
                raise WaitedInVain from error
            raise

    def _leave(self, tenant: str, mine: "asyncio.Future[None]") -> None:
        queue = self._waiting.get(tenant)
        if queue is not None and mine in queue:
            queue.remove(mine)
            if not queue:
                del self._waiting[tenant]

    def _give(self) -> None:
        """Give every turn that can be given now, and come back when the next one can."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._waiting:
            seconds = self._seconds_to_next()
            if seconds is None:
                return  # until a call ends
            if seconds > 0:
                self._timer = asyncio.get_running_loop().call_later(seconds, self._give)
                return
            tenant, queue = next(iter(self._waiting.items()))
            next_one = queue.popleft()
            if queue:
                self._waiting.move_to_end(tenant)
            else:
                del self._waiting[tenant]
            if not next_one.done():
                self._take()
                next_one.set_result(None)

    def _take(self) -> None:
        self._busy += 1
        if self._limits.requests_per_minute is not None:
            self._count()
            self._requests -= 1

    def _seconds_to_next(self) -> float | None:
        """Return after how long a turn can be given; None when a call must end first."""
        if self._limits.max_concurrent is not None and self._busy >= self._limits.max_concurrent:
            return None
        held = max(0.0, self._held_until - self._clock())
        if self._limits.requests_per_minute is None:
            return held
        self._count()
        missing = max(0.0, 1.0 - self._requests)
        return max(held, missing * 60.0 / self._limits.requests_per_minute)

    def _count(self) -> None:
        """Add the requests that time has allowed."""
        now = self._clock()
        if self._limits.requests_per_minute is not None:
            grown = self._requests + (now - self._counted) * self._limits.requests_per_minute / 60.0
            self._requests = min(self._most_at_once(), grown)
        self._counted = now

    def _most_at_once(self) -> float:
        return max(1.0, (self._limits.requests_per_minute or 0) / 60.0)
