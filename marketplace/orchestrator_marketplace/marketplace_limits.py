"""How much a marketplace takes of one publisher, and how long it remembers."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, kw_only=True)
class Limits:
    """See the module; each of them is a default that an operator may change.

    Attributes:
        submissions_a_day: Of one publisher, within 24 hours; each is fetched and scanned.
        open_submissions: Versions of one publisher that wait for checks or for a person.
        subscriptions: Of one publisher or platform.
        bundle_mb: Longest bundle that is fetched, all its parts together, in MiB; None takes what a bundle may be.
        events_days: How long events are kept; whoever was away for longer reads the listings anew. None keeps them for
            ever.
        actions_days: How long what was signed is kept, which proves who did it. None keeps it for ever.
    """

    submissions_a_day: int = 100
    open_submissions: int = 50
    subscriptions: int = 20
    bundle_mb: int | None = None
    events_days: int | None = 400
    actions_days: int | None = None

    def __post_init__(self) -> None:
        """Refuse limits that nobody could keep."""
        for name, least in _LEAST.items():
            value: int | None = getattr(self, name)
            if value is not None and value < least:
                raise ValueError(f"{name}: at least {least}")


_LEAST: Final[Mapping[str, int]] = {
    "submissions_a_day": 1,
    "open_submissions": 1,
    "subscriptions": 1,
    "bundle_mb": 1,
    "events_days": 2,  # what was submitted within a day is counted by its events
    "actions_days": 2,  # an action of the last minutes is done once
}
