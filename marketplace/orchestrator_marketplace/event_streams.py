"""Events on a stream of Redis: sooner than by asking, for many readers. The truth is the catalogue's.

An entry's id is its event's cursor, so Redis itself refuses one that is there, and one that is before another. As
cursors have no gaps, a reader sees what a stream lacks (trimmed, emptied, behind), and asks the marketplace for it.
"""

import logging
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Final, Protocol, cast

import redis

from orchestrator_marketplace.catalogues import Catalogue
from orchestrator_marketplace.marketplaces import (
    LONGEST_WAIT_SECONDS,
    MOST_AT_ONCE,
    Event,
    Events,
    MarketplaceError,
    Problem,
)
from orchestrator_marketplace.refusals import BundleRefused, Refusal
from orchestrator_runtimes.codec import InvalidMessage, decode, encode
from orchestrator_runtimes.json_values import NotJson, dump, parse

MOST_KEPT: Final = 10_000
"""Entries of a stream; Redis may keep some more."""

_LOG: Final = logging.getLogger(__name__)
_CONNECT_SECONDS: Final = 5.0
_ANSWER_SECONDS: Final = 5.0
"""How long an answer may take, beyond what it was asked to wait."""
_POLL_SECONDS: Final = 0.5
AWAY_SECONDS: Final = 10.0
"""For how long a Redis that did not answer is not asked."""
_FIELD: Final = b"event"


class RedisCommands(Protocol):
    """What is used of a client of Redis, whose own types say nothing of answers."""

    def execute_command(self, *words: str | bytes | int) -> object:
        """Return the answer to a command."""
        ...

    def close(self) -> None:
        """End its connections."""
        ...


def stream_of(marketplace: str) -> str:
    """Return the name of the stream of a marketplace."""
    return f"marketplace:{marketplace}:events"


class EventSource(Protocol):
    """What returns events by cursor; a `Marketplace` does."""

    def events(self, after: int, *, limit: int = MOST_AT_ONCE, wait_seconds: float = 0.0) -> Events:
        """See `Marketplace.events`."""
        ...


class StreamRelay:
    """Puts a catalogue's events on a stream, each at least once told and once there; several processes may.

    Args:
        url: Of Redis: `redis://`, `rediss://` or `unix://`.
        marketplace: Its name.
        catalogue: Where the events are.
        most: Entries that are kept, about.
        away_seconds: For how long a Redis or a database that did not answer is not asked.

    Raises:
        BundleRefused: `malformed` when the URL is none.
    """

    def __init__(
        self,
        url: str,
        marketplace: str,
        catalogue: Catalogue,
        *,
        most: int = MOST_KEPT,
        away_seconds: float = AWAY_SECONDS,
    ) -> None:
        """Connect to nothing yet."""
        self._redis = connect(url, _ANSWER_SECONDS)
        self._stream = stream_of(marketplace)
        self._catalogue = catalogue
        self._most = most
        self._away_seconds = away_seconds

    def run_until(self, ended: threading.Event) -> None:
        """Relay until an event is set; what a Redis or a database that was away has missed is relayed later."""
        while not ended.is_set():
            pause = _POLL_SECONDS
            try:
                while self.run_once() and not ended.is_set():
                    pass
            except redis.RedisError as error:
                _LOG.warning("events wait for Redis: %s", _said(error))
                pause = self._away_seconds
            except MarketplaceError as error:
                _LOG.warning("events wait: %s (%s)", error.message, error.cause)
                pause = self._away_seconds
            ended.wait(pause)
        self._redis.close()

    def run_once(self) -> int:
        """Relay a page of events; return how many were there to be relayed.

        Raises:
            redis.RedisError: It does not answer.
            MarketplaceError: The database does not, or the stream is another catalogue's (`conflict`).
        """
        after = self._last()
        with self._catalogue.view() as view:
            newest = view.fact("cursor")
            if after > newest:
                raise MarketplaceError(
                    Problem.CONFLICT,
                    f"the stream {self._stream} has event {after}, the catalogue ends at {newest}: delete the stream",
                )
            # what would be trimmed at once, or is not kept any more, is not sent
            after = max(after, view.fact("forgotten"), newest - self._most)
            events = view.events(after, MOST_AT_ONCE)
        for event in events:
            try:
                self._redis.execute_command(
                    "XADD",
                    self._stream,
                    "MAXLEN",
                    "~",
                    self._most,
                    f"{event.cursor}-0",
                    _FIELD,
                    dump(encode(event)),
                )
            except redis.ResponseError as error:
                if "equal or smaller" not in str(error):
                    raise
                return 1  # another process has put it there: look anew where the stream is
        return len(events)

    def _last(self) -> int:
        """Return the cursor of the last event that was ever put on the stream, also when it was trimmed."""
        try:
            told = self._redis.execute_command("XINFO STREAM", self._stream)
        except redis.ResponseError as error:
            if "no such key" in str(error):
                return 0
            raise
        last = cast("Mapping[str, bytes]", told)["last-generated-id"]  # as this command answers
        return int(last.partition(b"-")[0])


class StreamEvents:
    """Events of a marketplace, read from its stream where that has them, and from the marketplace where not.

    Args:
        marketplace: What is asked for events that the stream lacks.
        url: Of Redis.
        name: Of the marketplace.
        away_seconds: For how long a Redis that did not answer is not asked.

    Raises:
        BundleRefused: `malformed` when the URL is none.
    """

    def __init__(
        self, marketplace: EventSource, url: str, name: str, *, away_seconds: float = AWAY_SECONDS
    ) -> None:
        """Connect to nothing yet."""
        self._marketplace = marketplace
        self._redis = connect(url, LONGEST_WAIT_SECONDS + _ANSWER_SECONDS)
        self._stream = stream_of(name)
        self._away_seconds = away_seconds
        self._away_until = 0.0

    def close(self) -> None:
        """End the connection to Redis."""
        self._redis.close()

    def events(self, after: int, *, limit: int = MOST_AT_ONCE, wait_seconds: float = 0.0) -> Events:
        """Return what changed after a cursor, none missed and none twice; see `Marketplace.events`."""
        wait = min(wait_seconds, LONGEST_WAIT_SECONDS)
        if time.monotonic() >= self._away_until:
            try:
                found = self._streamed(after, limit, wait)
            except redis.RedisError as error:
                _LOG.warning("events come from the marketplace itself: Redis: %s", _said(error))
                self._away_until = time.monotonic() + self._away_seconds
            else:
                if found:
                    return Events(events=tuple(found), cursor=found[-1].cursor)
                wait = 0.0  # it was waited for: what there is now, the marketplace knows
        return self._marketplace.events(after, limit=limit, wait_seconds=wait)

    def _streamed(self, after: int, limit: int, wait: float) -> list[Event]:
        """Return the events after a cursor, up to the first one that the stream lacks."""
        block = ("BLOCK", max(int(wait * 1_000), 1)) if wait > 0 else ()
        answer = self._redis.execute_command(
            "XREAD", "COUNT", limit, *block, "STREAMS", self._stream, f"{after}-0"
        )
        found: list[Event] = []
        for entry in _entries(answer):
            event = _event(entry)
            if event is None or event.cursor != after + len(found) + 1:
                break
            found.append(event)
        return found


def connect(url: str, seconds: float) -> RedisCommands:
    """Return a client of Redis, which connects when it is first used.

    Args:
        url: `redis://`, `rediss://` or `unix://`.
        seconds: For an answer.

    Raises:
        BundleRefused: `malformed` when the URL is none.
    """
    try:
        client: RedisCommands = redis.Redis.from_url(  # pyright: ignore[reportUnknownMemberType]  # its own types leave the settings open
            url,
            socket_connect_timeout=_CONNECT_SECONDS,
            socket_timeout=seconds,
            health_check_interval=30,
            protocol=2,
        )
    except ValueError as error:
        raise BundleRefused(
            Refusal.MALFORMED, f"the bus must be redis://host:port/number: {error}"
        ) from error
    return client


def _entries(answer: object) -> Sequence[object]:
    """Return the entries of the one stream that was read; none when nothing came."""
    if isinstance(answer, list) and answer:
        stream: object = answer[0]  # pyright: ignore[reportUnknownVariableType]  # looked at below
        if isinstance(stream, list) and len(stream) == 2 and isinstance(stream[1], list):  # pyright: ignore[reportUnknownArgumentType]  # as above
            return cast("list[object]", stream[1])
    return ()


def _event(entry: object) -> Event | None:
    """Return the event of an entry; None when it is none that a relay put there."""
    try:
        number, told = cast("tuple[bytes, Mapping[bytes, bytes]]", entry)
        event = decode(Event, parse(told[_FIELD]), "event")
    except (TypeError, ValueError, KeyError, NotJson, InvalidMessage):
        return None
    return event if number == f"{event.cursor}-0".encode() else None


def _said(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
