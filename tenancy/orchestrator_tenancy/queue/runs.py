"""Runs as the queue sees them."""

from dataclasses import dataclass
from typing import Final

HEAD_START_SECONDS: Final = 300.0
"""What one step of priority is worth: waiting that long does as much, so that nothing waits for ever."""
MOST_PRIORITY: Final = 100
"""Of either sign; more counts as this. A head start of eight hours, which whoever waits catches up with."""


@dataclass(frozen=True, kw_only=True, slots=True)
class WaitingRun:
    """A run in the queue.

    Attributes:
        id: Of the run.
        number: Of its row; grows with every run.
        flow: Whose it is; see `shares.Shares.flow`.
        location: Its code location; None for a run that has none.
        since: When it was made, in seconds since 1970.
        priority: Of its tag; matters among runs of its flow only.
        gpus: That its agents need together.
    """

    id: str
    number: int
    flow: str
    location: str | None
    since: float
    priority: int = 0
    gpus: int = 0

    @property
    def place(self) -> tuple[float, int]:
        """What runs of a flow are ordered by; does not change while it waits."""
        priority = max(-MOST_PRIORITY, min(MOST_PRIORITY, self.priority))
        return (self.since - priority * HEAD_START_SECONDS, self.number)


@dataclass(frozen=True, kw_only=True, slots=True)
class StartedRun:
    """A run that holds what it needs, or that did a moment ago.

    Attributes:
        id: Of the run.
        flow: Whose it is.
        gpus: That its agents need together.
        begin: Since when, in seconds since 1970; None where it never began to work.
        end: Until when; None while it goes on.
    """

    id: str
    flow: str
    gpus: int = 0
    begin: float | None = None
    end: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Capacity:
    """What the platform has for all runs; None sets no limit.

    Attributes:
        runs: That may be starting or started.
        gpus: Of all nodes that runs may use.
    """

    runs: int | None = None
    gpus: int | None = None

    def part(self, runs: int, gpus: int) -> float:
        """Return the larger of the parts that these are of all runs and of all GPUs; 0 where nothing limits."""
        of_runs = runs / self.runs if self.runs else 0.0
        of_gpus = gpus / self.gpus if self.gpus else 0.0
        return max(of_runs, of_gpus)
