"""Sending events to who subscribed: at least once, in their order, tried again with growing pauses, then paused."""

import asyncio
import logging
import random
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Concatenate, Final, ParamSpec, Protocol, TypeVar

from orchestrator_marketplace import subscriptions
from orchestrator_marketplace.catalogue_databases import Transaction
from orchestrator_marketplace.catalogues import Catalogue
from orchestrator_marketplace.marketplaces import MOST_AT_ONCE, Event, MarketplaceError, Problem
from orchestrator_marketplace.subscriptions import Kept
from orchestrator_marketplace.webhook_signatures import event_message, signed_headers
from orchestrator_marketplace.webhook_targets import TargetRefused, Undelivered

T = TypeVar("T")
P = ParamSpec("P")

TRIES: Final = 20
"""After which a subscription is paused: about ten hours."""
GONE: Final = 410
"""The status of a receiver that wants nothing more."""

_LOG: Final = logging.getLogger(__name__)
_AT_ONCE: Final = 16
"""Subscriptions that one process sends to; further ones wait."""
_TURN_SECONDS: Final = 20.0
"""After which a subscription lets others go before it; with one delivery more, well within its lease."""
_POLL_SECONDS: Final = 0.5
_FIRST_PAUSE_SECONDS: Final = 5.0
_LONGEST_PAUSE_SECONDS: Final = 3_600.0


class Sender(Protocol):
    """How a message gets to an address; see `webhook_targets.WebhookSender.send`."""

    async def __call__(self, url: str, headers: Mapping[str, str], body: bytes, /) -> int:
        """Return the status of the answer."""
        ...


def pause_seconds(failures: int) -> float:
    """Return for how long nothing is sent after so many failures in a row, at least 1."""
    whole = min(_FIRST_PAUSE_SECONDS * 2.0 ** min(failures - 1, 20), _LONGEST_PAUSE_SECONDS)
    return whole * random.uniform(0.5, 1.0)


class WebhookDeliveries:
    """Sends what a catalogue's subscriptions ask for; any number of processes may do so at once.

    Args:
        catalogue: Where events and subscriptions are.
        send: How.
        tries: After how many failures in a row a subscription is paused.
        pause: For how many seconds nothing is sent after so many failures in a row.
        clock: Unix time in seconds.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        send: Sender,
        *,
        tries: int = TRIES,
        pause: Callable[[int], float] = pause_seconds,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Send nothing yet."""
        self._catalogue = catalogue
        self._send = send
        self._tries = tries
        self._pause = pause
        self._clock = clock

    async def run(self) -> None:
        """Send until this is cancelled; what was on its way then may be sent again."""
        turns = set[asyncio.Task[None]]()
        try:
            while True:
                lease = secrets.token_hex(16)
                try:
                    taken = await asyncio.to_thread(self._take, lease, _AT_ONCE - len(turns))
                except MarketplaceError as error:  # the database is away; cursors stay where they are
                    _LOG.warning("webhooks wait: %s (%s)", error.message, error.cause)
                    taken = ()
                for kept in taken:
                    turn = asyncio.create_task(self._turn(kept, lease))
                    turns.add(turn)
                    turn.add_done_callback(turns.discard)
                await asyncio.sleep(_POLL_SECONDS)
        finally:
            for turn in turns:
                turn.cancel()
            await asyncio.gather(*turns, return_exceptions=True)

    def _take(self, lease: str, most: int) -> Sequence[Kept]:
        if most <= 0:
            return ()
        now = self._clock()
        with self._catalogue.view() as view:
            if not subscriptions.is_any_due(view.transaction, now):
                return ()
        with self._catalogue.change() as change:
            return subscriptions.take(change.transaction, now, lease, most)

    async def _turn(self, kept: Kept, lease: str) -> None:
        try:
            await self._send_events(kept, lease)
        except MarketplaceError as error:
            if error.problem is Problem.GONE:
                await self._fail(kept, lease, error.message, is_final=True)
            else:  # the lease ends by itself
                _LOG.warning("a webhook waits: %s (%s)", error.message, error.cause)

    async def _send_events(self, kept: Kept, lease: str) -> None:
        """Send what is there; stop where nothing is taken, when the turn is over, or when somebody else has it."""
        one, until = kept.shown, time.monotonic() + _TURN_SECONDS
        cursor = one.cursor
        while events := await asyncio.to_thread(self._events, cursor):
            for event in events:
                if kept.wants(event):
                    refused = await self._deliver(kept, event)
                    if refused is not None:
                        why, is_final = refused
                        await self._fail(kept, lease, f"event {event.cursor}: {why}", is_final=is_final)
                        return
                elif event is not events[-1]:
                    continue  # what nobody asked for is noted with what comes next
                cursor = event.cursor
                if not await self._change(subscriptions.advance, one.id, lease, cursor):
                    return
                if time.monotonic() >= until:
                    await self._change(subscriptions.give_back, one.id, lease, self._clock())
                    return
        await self._change(subscriptions.give_back, one.id, lease, self._clock())

    async def _deliver(self, kept: Kept, event: Event) -> tuple[str, bool] | None:
        """Return why an event was not taken, and whether it never will be; None when it was."""
        body, now = event_message(event), datetime.fromtimestamp(self._clock(), UTC)
        headers = signed_headers(kept.secret, f"{kept.shown.id}-{event.cursor}", now, body)
        try:
            status = await self._send(kept.shown.url, headers, body)
        except TargetRefused as error:
            return error.message, True
        except Undelivered as error:
            return error.message, False
        return None if 200 <= status < 300 else (f"the receiver answers {status}", status == GONE)

    async def _fail(self, kept: Kept, lease: str, why: str, *, is_final: bool) -> None:
        one = kept.shown
        failures = one.failures + 1
        is_paused = is_final or failures >= self._tries
        due = self._clock() + self._pause(failures)
        await self._change(subscriptions.fail, one.id, lease, why, due, is_paused)
        if is_paused:
            _LOG.warning("the webhook %s of %s is paused: %s", one.id[:8], kept.owner, why)

    def _events(self, after: int) -> Sequence[Event]:
        with self._catalogue.view() as view:
            return view.events(after, MOST_AT_ONCE)

    async def _change(
        self, work: Callable[Concatenate[Transaction, P], T], *words: P.args, **more: P.kwargs
    ) -> T:
        def change() -> T:
            with self._catalogue.change() as made:
                return work(made.transaction, *words, **more)

        return await asyncio.to_thread(change)
