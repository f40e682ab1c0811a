"""A circuit breaker: an upstream that fails again and again is left alone for a while, then tried with one call.

Laws: while it is open nothing passes; while it is half open one call at most is on its way; what a call of an earlier
state tells later changes nothing; each failed trial doubles the time that it stays open, up to a limit.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

from orchestrator_gateway.routes import BreakerSettings

State = Literal["closed", "open", "half_open"]

_LONGEST_OPEN_SECONDS: Final = 120.0
_TRIAL_SECONDS: Final = 0.25
"""When to ask again how a trial went: it is over when the upstream begins to answer."""


@dataclass(frozen=True, eq=False)
class Passage:
    """The permission of one call; it is given back once, with `succeeded`, `failed` or `abandoned`."""

    period: int


class Breaker:
    """Counts the faults of one upstream.

    Args:
        settings: When it opens and for how long.
        clock: Seconds that only grow.
    """

    def __init__(self, settings: BreakerSettings, clock: Callable[[], float] = time.monotonic) -> None:
        """Begin closed: calls pass."""
        self.settings = settings
        self._clock = clock
        self._state: State = "closed"
        self._period = 0
        self._faults = 0
        self._trials = 0
        self._opened = 0.0

    @property
    def state(self) -> State:
        """What it is now; an open one whose time is over stays open until a call comes."""
        return self._state

    def seconds_left(self) -> float:
        """Return after how many seconds a call may pass; 0 when one may now."""
        if self._state == "closed":
            return 0.0
        if self._state == "half_open":
            return _TRIAL_SECONDS
        return max(0.0, self._opened + self._open_seconds() - self._clock())

    def enter(self) -> Passage | None:
        """Return the permission of a call, or None when the upstream is left alone."""
        if self._state == "half_open" or (self._state == "open" and self.seconds_left() > 0):
            return None
        if self._state == "open":
            self._become("half_open")
        return Passage(self._period)

    def begun(self, passage: Passage) -> Passage:
        """Note that an answer began to come, which ends a trial: the rest may take minutes.

        Returns:
            The permission under which the call goes on.
        """
        if passage.period == self._period and self._state == "half_open":
            self._become("closed")
            return Passage(self._period)
        return passage

    def succeeded(self, passage: Passage) -> None:
        """Note that the upstream answered: as it was asked to, or with a refusal that is not its own fault."""
        if passage.period == self._period:
            self._faults = self._trials = 0
            if self._state == "half_open":
                self._become("closed")

    def failed(self, passage: Passage) -> None:
        """Note a fault of the upstream: no connection, no answer in time or half of one, a status of 500 or more."""
        if passage.period != self._period:
            return
        self._faults += 1
        if self._state == "half_open":
            self._trials += 1
            self._open()
        elif self._faults >= self.settings.failures:
            self._open()

    def abandoned(self, passage: Passage) -> None:
        """Note that a call ended without telling anything of the upstream; another one may be the trial now."""
        if passage.period == self._period and self._state == "half_open":
            self._become("open")

    def _open(self) -> None:
        self._faults = 0
        self._opened = self._clock()
        self._become("open")

    def _open_seconds(self) -> float:
        longest = max(_LONGEST_OPEN_SECONDS, self.settings.open_seconds)
        return min(self.settings.open_seconds * 2.0 ** min(self._trials, 30), longest)

    def _become(self, state: State) -> None:
        self._state = state
        self._period += 1
