"""Follows the events of a marketplace, so that a look begins when something was published and not at its turn.

An event only wakes: what is new is what a look finds. So nothing is lost when events are, come twice or come in another
order, and without a follower a look comes at its turn all the same.
"""

import logging
import threading
from collections.abc import Callable
from typing import Final, Protocol

from orchestrator_marketplace.marketplaces import (
    LONGEST_WAIT_SECONDS,
    MOST_AT_ONCE,
    Events,
    MarketplaceError,
    Problem,
)

LOG: Final = logging.getLogger("orchestrator_sensors.events")

FIRST_PAUSE_SECONDS: Final = 1.0
LONGEST_PAUSE_SECONDS: Final = 60.0
"""Between two tries of a marketplace that does not answer; each pause is twice the one before."""

BETWEEN_SECONDS: Final = 0.2
"""Least time between two answers: one that says too much, or nothing without waiting, is asked no faster."""


class Cursors(Protocol):
    """Where it is kept how far events are known, by marketplace."""

    def read(self, marketplace: str) -> int:
        """Return the cursor of the last event that is known; 0 for none."""
        ...

    def write(self, marketplace: str, cursor: int) -> None:
        """Keep a cursor."""
        ...


class EventSource(Protocol):
    """What of a marketplace is followed."""

    def events(self, after: int, *, limit: int = MOST_AT_ONCE, wait_seconds: float = 0.0) -> Events:
        """Return what changed after a cursor; see `Marketplace`."""
        ...


class EventFollower:
    """Follows one marketplace.

    Args:
        url: Of the marketplace, for people and cursors.
        marketplace: The client of it.
        cursors: Keeps how far it came.
        wake: Called after each answer that has events, and after each outage; quick, from the follower's thread.
    """

    def __init__(
        self, url: str, marketplace: EventSource, cursors: Cursors, wake: Callable[[], None]
    ) -> None:
        """Follow nothing yet."""
        self._url, self._marketplace = url, marketplace
        self._cursors, self._wake = cursors, wake
        self._failures = 0

    def run_until(self, ended: threading.Event) -> None:
        """Follow until an event is set; whatever the marketplace does, this goes on."""
        while not ended.wait(self.pause):
            self.follow_once()

    @property
    def pause(self) -> float:
        """Seconds until it is asked again."""
        if not self._failures:
            return BETWEEN_SECONDS
        return min(FIRST_PAUSE_SECONDS * float(2 ** min(self._failures - 1, 16)), LONGEST_PAUSE_SECONDS)

    def follow_once(self) -> None:
        """Ask once, which waits for an event, and wake who looks."""
        try:
            after = self._cursors.read(self._url)
            page = self._marketplace.events(after, wait_seconds=LONGEST_WAIT_SECONDS)
            if page.cursor < after or (page.events and page.cursor == after):
                raise MarketplaceError(
                    Problem.UNAVAILABLE, f"after the cursor {after} it tells of events up to {page.cursor}"
                )
            if page.events or self._failures:
                self._wake()
            if page.cursor != after:
                self._cursors.write(self._url, page.cursor)
        except Exception as error:  # the boundary of the follower: looks come at their turn meanwhile
            self._failed(error)
            return
        if self._failures:
            LOG.warning("the events of %s are followed again", self._url)
        self._failures = 0

    def _failed(self, error: Exception) -> None:
        if not self._failures:
            LOG.warning("the events of %s are not followed, looks come at their turn: %s", self._url, error)
        self._failures += 1
