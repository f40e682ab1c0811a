"""How far a sensor has told a backend of Dagster's runs: nothing is lost, and what is not sure is told again.

Numbers of events are given before they are committed, so one with a lower number may appear later. Numbers therefore
stay under watch until they are old enough that no transaction of theirs can still be open.
"""

from dataclasses import dataclass, field, replace
from typing import Final

from orchestrator_runtimes.codec import InvalidMessage, decode, encode
from orchestrator_runtimes.json_values import NotJson, dump, parse

SETTLED_SECONDS: Final = 120.0
"""After which an event's transaction is over."""
_FIRST_PAUSE: Final = 30.0
_LONGEST_PAUSE: Final = 600.0


@dataclass(frozen=True, kw_only=True)
class Told:
    """How far events of one kind were told.

    Attributes:
        after: All up to this number are told.
        young: Further ones that are told.
    """

    after: int = 0
    young: tuple[int, ...] = ()

    def with_event(self, number: int) -> "Told":
        """Return this with one more that is told."""
        return replace(self, young=tuple(sorted({*self.young, number})))

    def settled(self, up_to: int) -> "Told":
        """Return this with all up to a number, of which every one is told and none can come any more."""
        after = max(self.after, up_to)
        return Told(after=after, young=tuple(one for one in self.young if one > after))


@dataclass(frozen=True, kw_only=True)
class Cursor:
    """What a sensor remembers.

    Attributes:
        kinds: How far, by the name of Dagster's event.
        failures: How often in a row the backend did not take anything.
        pause_until: Unix time before which it is not asked again.
    """

    kinds: dict[str, Told] = field(default_factory=dict[str, Told])
    failures: int = 0
    pause_until: float = 0.0

    def failed(self, now: float) -> "Cursor":
        """Return this after a failure: each pause is twice the one before, at most ten minutes."""
        failures = self.failures + 1
        pause = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2.0 ** min(failures - 1, 10))
        return replace(self, failures=failures, pause_until=now + pause)

    def worked(self) -> "Cursor":
        """Return this after something was taken."""
        return replace(self, failures=0, pause_until=0.0)


def read_cursor(text: str | None) -> Cursor:
    """Return a cursor; a new one where there is none, or none that can be read: then everything is told again."""
    if not text:
        return Cursor()
    try:
        return decode(Cursor, parse(text.encode()), "")
    except (NotJson, InvalidMessage):
        return Cursor()


def written_cursor(cursor: Cursor) -> str:
    """Return a cursor as Dagster keeps it."""
    return dump(encode(cursor)).decode()
