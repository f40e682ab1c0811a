"""Who is sent events: subscriptions as a catalogue keeps them, each sent to by one process at a time.

Whoever sends takes a subscription for a while, and names what it took it by at each step: a process that was away for
longer than that does nothing more.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from orchestrator_marketplace.catalogue_databases import Transaction
from orchestrator_marketplace.marketplaces import Event, Subscription

LEASE_SECONDS: Final = 60
"""For how long a subscription is taken; several times what one delivery may take."""

_COLUMNS: Final = "id, owner, url, events, about, state, cursor, failures, error, secret"
_LAST: Final = "(SELECT value FROM facts WHERE name = 'cursor')"
_DUE: Final = f"state = 'active' AND due <= ? AND leased <= ? AND cursor < {_LAST}"


@dataclass(frozen=True, kw_only=True)
class Kept:
    """A subscription, with what only the service knows.

    Attributes:
        shown: What whoever subscribed is shown, without the secret.
        owner: The publisher or platform by whose key it was made.
        secret: By which messages are signed.
    """

    shown: Subscription
    owner: str
    secret: str

    def wants(self, event: Event) -> bool:
        """Tell whether an event is one that it asks for."""
        named = (event.publisher, f"{event.publisher}/{event.agent}")
        return (not self.shown.events or event.kind in self.shown.events) and (
            self.shown.about is None or self.shown.about in named
        )


def add(transaction: Transaction, kept: Kept) -> None:
    """Write a new subscription."""
    one = kept.shown
    values = (
        one.id, kept.owner, one.url, json.dumps(one.events), one.about, one.state, one.cursor, one.failures, one.error,
        kept.secret,
    )  # fmt: skip
    marks = ", ".join("?" * len(values))
    transaction.execute(
        f"INSERT INTO subscriptions ({_COLUMNS}, due, leased, lease) VALUES ({marks}, 0, 0, '')", values
    )


def find(transaction: Transaction, subscription: str) -> Kept | None:
    """Return a subscription; None when there is none."""
    row = transaction.execute(
        f"SELECT {_COLUMNS} FROM subscriptions WHERE id = ?", (subscription,)
    ).fetchone()
    return None if row is None else _kept(row)


def count_of(transaction: Transaction, owner: str) -> int:
    """Return how many subscriptions an owner has."""
    row = transaction.execute("SELECT count(*) FROM subscriptions WHERE owner = ?", (owner,)).fetchone()
    return int(row[0])


def remove(transaction: Transaction, subscription: str) -> None:
    """End a subscription; nothing that is being sent to it is stopped."""
    transaction.execute("DELETE FROM subscriptions WHERE id = ?", (subscription,))


def resume(transaction: Transaction, subscription: str, after: int | None) -> None:
    """Go on with a subscription; after a cursor, or where it is when that is None."""
    transaction.execute(
        "UPDATE subscriptions SET state = 'active', failures = 0, error = NULL, due = 0, leased = 0, lease = '',"
        " cursor = coalesce(?, cursor) WHERE id = ?",
        (after, subscription),
    )


def is_any_due(transaction: Transaction, now: float) -> bool:
    """Tell whether there is a subscription to be sent to, which nobody has taken."""
    command = f"SELECT 1 FROM subscriptions WHERE {_DUE} LIMIT 1"
    return transaction.execute(command, (_milliseconds(now),) * 2).fetchone() is not None


def take(transaction: Transaction, now: float, lease: str, most: int) -> Sequence[Kept]:
    """Take subscriptions that are to be sent to, those that wait longest first.

    Args:
        transaction: Of a change.
        now: Unix time in seconds.
        lease: What they are taken by.
        most: How many.
    """
    command = f"SELECT {_COLUMNS} FROM subscriptions WHERE {_DUE} ORDER BY due, id LIMIT ?"
    rows = transaction.execute(command, (*(_milliseconds(now),) * 2, most)).fetchall()
    until = _milliseconds(now + LEASE_SECONDS)
    for row in rows:
        transaction.execute(
            "UPDATE subscriptions SET lease = ?, leased = ? WHERE id = ?", (lease, until, row[0])
        )
    return [_kept(row) for row in rows]


def advance(transaction: Transaction, subscription: str, lease: str, cursor: int) -> bool:
    """Note that everything up to a cursor is done; tell whether the subscription is still taken by this lease."""
    command = "UPDATE subscriptions SET cursor = ?, failures = 0, error = NULL WHERE id = ? AND lease = ?"
    return transaction.execute(command, (cursor, subscription, lease)).rowcount == 1


def give_back(transaction: Transaction, subscription: str, lease: str, due: float) -> None:
    """Let others take a subscription, from a Unix time in seconds on."""
    command = "UPDATE subscriptions SET due = ?, leased = 0, lease = '' WHERE id = ? AND lease = ?"
    transaction.execute(command, (_milliseconds(due), subscription, lease))


def fail(
    transaction: Transaction, subscription: str, lease: str, error: str, due: float, is_paused: bool
) -> None:
    """Note that nothing was taken, and why; try again from a Unix time in seconds on, or never when it is paused."""
    transaction.execute(
        "UPDATE subscriptions SET failures = failures + 1, error = ?, state = ?, due = ?, leased = 0, lease = ''"
        " WHERE id = ? AND lease = ?",
        (error[:500], "paused" if is_paused else "active", _milliseconds(due), subscription, lease),
    )


def _milliseconds(seconds: float) -> int:
    return int(seconds * 1_000)


def _kept(row: Sequence[Any]) -> Kept:
    return Kept(
        shown=Subscription(
            id=row[0],
            url=row[2],
            events=tuple(json.loads(row[3])),
            about=row[4],
            state=row[5],
            cursor=row[6],
            failures=row[7],
            error=row[8],
        ),
        owner=row[1],
        secret=row[9],
    )
