"""What the reference marketplace keeps: publishers, keys, versions, actions, events, ratings; in SQLite or PostgreSQL.

A module that keeps something of its own has its tables in `catalogue_schema`, and reads and writes them by the
`transaction` of a `View` or a `Change`.
"""

import contextlib
import json
from collections.abc import Generator, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from orchestrator_marketplace import catalogue_schema
from orchestrator_marketplace.actions import moment
from orchestrator_marketplace.catalogue_databases import CatalogueDatabase, Transaction
from orchestrator_marketplace.marketplaces import (
    Event,
    Listing,
    MarketplaceError,
    Problem,
    Query,
    Rating,
    RatingSummary,
)
from orchestrator_marketplace.names import parse_version, skeleton
from orchestrator_marketplace.workflow import EVER_PUBLIC, PUBLIC, State

_LISTED: Final = (
    "name, version, state, digest, reference, manifest, documentation, findings, reason, replacement, changed,"
    " (SELECT sum(stars) FROM ratings WHERE ratings.name = versions.name),"
    " (SELECT count(*) FROM ratings WHERE ratings.name = versions.name)"
)
_WRITTEN: Final = (
    "name, version, state, digest, reference, manifest, documentation, findings, reason, replacement, changed,"
    " publisher, framework, licence, searched"
)
_EVENT: Final = "cursor, at, kind, publisher, agent, version, state, digest"


class View:
    """What is there, as one transaction sees it.

    Attributes:
        transaction: For modules that keep something of their own.
    """

    def __init__(self, transaction: Transaction) -> None:
        """Read by a transaction."""
        self.transaction: Final = transaction

    def _rows(self, command: str, *values: object) -> list[Any]:
        return self.transaction.execute(command, values).fetchall()

    def keys(self, publisher: str) -> tuple[str, ...] | None:
        """Return a publisher's keys as PEM; None when there is no such publisher."""
        if not self._rows("SELECT 1 FROM publishers WHERE name = ?", publisher):
            return None
        return tuple(
            sorted(pem for (pem,) in self._rows("SELECT pem FROM keys WHERE publisher = ?", publisher))
        )

    def version(self, name: str, version: str) -> Listing | None:
        """Return a version of an agent; None when there is none."""
        rows = self._rows(f"SELECT {_LISTED} FROM versions WHERE name = ? AND version = ?", name, version)
        return _listing(rows[0]) if rows else None

    def versions(self, name: str) -> tuple[Listing, ...]:
        """Return the versions that were ever public, the highest first."""
        where = f"name = ? AND state IN ({_marks(EVER_PUBLIC)})"
        found = map(_listing, self._rows(f"SELECT {_LISTED} FROM versions WHERE {where}", name, *EVER_PUBLIC))
        return tuple(sorted(found, key=lambda one: parse_version(one.version), reverse=True))

    def in_checks(self) -> tuple[Listing, ...]:
        """Return the versions that wait to be checked, the oldest first."""
        text = f"SELECT {_LISTED} FROM versions WHERE state = ? ORDER BY changed"
        return tuple(map(_listing, self._rows(text, State.CHECKS)))

    def search(self, query: Query) -> tuple[Listing, ...]:
        """Return a page of public agents and one more, where there are more."""
        clauses, values = [f"state IN ({_marks(PUBLIC)})"], [str(state) for state in PUBLIC]
        for column in ("publisher", "framework", "licence"):
            value: str | None = getattr(query, column)
            if value is not None:
                clauses.append(f"{column} = ?")
                values.append(value)
        for word in query.text.casefold().split():
            escaped = word.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
            clauses.append("searched LIKE ? ESCAPE '\\'")
            values.append(f"%{escaped}%")
        if query.after is not None:
            clauses.append("name > ?")
            values.append(query.after)
        found = f"SELECT name, version FROM versions WHERE {' AND '.join(clauses)}"
        page = f"SELECT DISTINCT name FROM ({found}) AS found ORDER BY name LIMIT {query.limit + 1}"
        rows = self._rows(f"{found} AND name IN ({page})", *values, *values)
        return tuple(
            listing
            for name, version in sorted(_highest(rows).items())
            if (listing := self.version(name, version)) is not None
        )

    def ratings(self, name: str, limit: int, after: str | None) -> tuple[Rating, ...]:
        """Return an agent's ratings, by platform."""
        columns = "platform, stars, version, at, comment"
        where = "name = ? AND platform > ? ORDER BY platform LIMIT ?"
        rows = self._rows(f"SELECT {columns} FROM ratings WHERE {where}", name, after or "", limit)
        return tuple(
            Rating(platform=row[0], stars=row[1], version=row[2], at=row[3], comment=row[4]) for row in rows
        )

    def events(self, after: int, limit: int) -> tuple[Event, ...]:
        """Return the events after a cursor.

        Raises:
            MarketplaceError: `gone` when some of them are not kept any more.
        """
        forgotten = self.fact("forgotten")
        if after < forgotten:
            raise MarketplaceError(
                Problem.GONE,
                f"events up to {forgotten} are not kept any more: read the listings, then go on after {forgotten}",
                cursor=forgotten,
            )
        text = f"SELECT {_EVENT} FROM events WHERE cursor > ? ORDER BY cursor LIMIT ?"
        return tuple(map(_event, self._rows(text, after, limit)))

    def history(self, name: str, limit: int) -> tuple[Event, ...]:
        """Return the last events of an agent's versions that are kept, in their order."""
        publisher, _, agent = name.partition("/")
        where = "publisher = ? AND agent = ? ORDER BY cursor DESC LIMIT ?"
        rows = self._rows(f"SELECT {_EVENT} FROM events WHERE {where}", publisher, agent, limit)
        return tuple(map(_event, reversed(rows)))

    def fact(self, name: str) -> int:
        """Return a number that the catalogue keeps of itself; see `catalogue_schema`."""
        ((value,),) = self._rows("SELECT value FROM facts WHERE name = ?", name)
        return int(value)

    def submitted_since(self, publisher: str, at: str) -> int:
        """Return how often a publisher has submitted since a moment."""
        where = "publisher = ? AND kind = 'submit' AND at > ?"
        ((count,),) = self._rows(f"SELECT count(*) FROM events WHERE {where}", publisher, at)
        return int(count)

    def open_submissions(self, publisher: str) -> int:
        """Return how many of a publisher's versions wait for checks or for a person."""
        where = "publisher = ? AND state IN (?, ?)"
        found = self._rows(
            f"SELECT count(*) FROM versions WHERE {where}", publisher, State.CHECKS, State.REVIEW
        )
        return int(found[0][0])


class Change(View):
    """What may be done within one change; what is read here is of it, too."""

    def first_time(self, action: str, at: str, envelope: bytes) -> bool:
        """Note an action; tell whether it was not noted before."""
        insert = "INSERT INTO actions (id, at, envelope) VALUES (?, ?, ?) ON CONFLICT DO NOTHING"
        return self.transaction.execute(insert, (action, at, envelope)).rowcount == 1

    def add_publisher(self, name: str) -> None:
        """Add a publisher.

        Raises:
            MarketplaceError: `conflict` when the name is taken, or can be mistaken for one that is.
        """
        insert = "INSERT INTO publishers (name, skeleton) VALUES (?, ?) ON CONFLICT DO NOTHING"
        if self.transaction.execute(insert, (name, skeleton(name))).rowcount == 0:
            raise MarketplaceError(
                Problem.CONFLICT, f"the publisher {name!r} is there, or one whose name looks like it"
            )

    def add_key(self, publisher: str, pem: str) -> None:
        """Let a key sign for a publisher."""
        insert = "INSERT INTO keys (publisher, pem) VALUES (?, ?) ON CONFLICT DO NOTHING"
        self.transaction.execute(insert, (publisher, pem))

    def remove_key(self, publisher: str, pem: str) -> bool:
        """Let a key no longer sign; tell whether it did."""
        delete = "DELETE FROM keys WHERE publisher = ? AND pem = ?"
        return self.transaction.execute(delete, (publisher, pem)).rowcount == 1

    def write(self, listing: Listing) -> None:
        """Write a version as it is now."""
        manifest: Mapping[str, object] = listing.manifest
        searched = f"{listing.name} {manifest.get('summary', '')} {listing.documentation}".casefold()
        values: Sequence[object] = (
            listing.name, listing.version, listing.state, listing.digest, listing.reference,
            json.dumps(dict(manifest)), listing.documentation, json.dumps(listing.findings), listing.reason,
            listing.replacement, listing.changed, listing.name.partition("/")[0],
            str(manifest.get("framework", "")), str(manifest.get("licence", "")), searched,
        )  # fmt: skip
        self.transaction.execute("DELETE FROM versions WHERE name = ? AND version = ?", values[:2])
        self.transaction.execute(f"INSERT INTO versions ({_WRITTEN}) VALUES ({_marks(values)})", values)

    def rate(self, name: str, rating: Rating) -> None:
        """Write what a platform thinks of an agent now."""
        self.transaction.execute(
            "INSERT INTO ratings (name, platform, stars, version, at, comment) VALUES (?, ?, ?, ?, ?, ?)"
            " ON CONFLICT (name, platform) DO UPDATE SET stars = excluded.stars, version = excluded.version,"
            " at = excluded.at, comment = excluded.comment",
            (name, rating.platform, rating.stars, rating.version, rating.at, rating.comment),
        )

    def tell(self, event: Event) -> None:
        """Add an event; its cursor is given here: the next one, and no other change can be given it meanwhile."""
        self.transaction.execute("UPDATE facts SET value = value + 1 WHERE name = 'cursor'")
        values = (
            self.fact("cursor"), event.at, event.kind, event.publisher, event.agent, event.version, event.state,
            event.digest,
        )  # fmt: skip
        self.transaction.execute(f"INSERT INTO events ({_EVENT}) VALUES ({_marks(values)})", values)

    def forget(self, *, events_before: datetime | None, actions_before: datetime | None) -> int:
        """Drop what is older than a moment; None drops none. Return how much was dropped.

        Events are dropped in their order, so that one that has a cursor behind the dropped ones misses nothing.
        """
        dropped = 0
        if events_before is not None:
            kept = "(SELECT min(cursor) FROM events WHERE at >= ?)"
            ((first,),) = self._rows(
                f"SELECT coalesce({kept}, (SELECT value + 1 FROM facts WHERE name = 'cursor'))",
                moment(events_before),
            )
            gone = self.transaction.execute("DELETE FROM events WHERE cursor < ?", (first,)).rowcount
            if gone:
                self.transaction.execute("UPDATE facts SET value = ? WHERE name = 'forgotten'", (first - 1,))
            dropped += gone
        if actions_before is not None:
            delete = "DELETE FROM actions WHERE at < ?"
            dropped += self.transaction.execute(delete, (moment(actions_before),)).rowcount
        return dropped


class Catalogue:
    """See the module; any number of threads and processes may use one.

    Args:
        database: Where it is kept.

    Raises:
        BundleRefused: `malformed` when it is of a later release.
        MarketplaceError: `unavailable`.
    """

    def __init__(self, database: CatalogueDatabase) -> None:
        """Make the tables where they are missing."""
        self._database = database
        database.prepare()
        with self.change() as change:
            for publisher, agent, *rest in catalogue_schema.prepare(change.transaction):
                change.write(_listing((f"{publisher}/{agent}", *rest, None, 0)))

    def close(self) -> None:
        """Let the database go."""
        self._database.close()

    @contextlib.contextmanager
    def view(self) -> Generator[View]:
        """Look at it.

        Raises:
            MarketplaceError: `unavailable`.
        """
        with self._database.view() as transaction:
            yield View(transaction)

    @contextlib.contextmanager
    def change(self) -> Generator[Change]:
        """Change several things at once: all of them, or none when an error leaves this; one change at a time.

        Raises:
            MarketplaceError: `unavailable`.
        """
        with self._database.change() as transaction:
            yield Change(transaction)


def _highest(rows: Iterable[Any]) -> dict[str, str]:
    highest: dict[str, str] = {}
    for name, version in rows:
        known = highest.get(name)
        if known is None or parse_version(version) > parse_version(known):
            highest[name] = version
    return highest


def _marks(values: Sequence[object] | frozenset[State]) -> str:
    return ", ".join("?" * len(values))


def _listing(row: Sequence[Any]) -> Listing:
    stars, count = row[11:]
    return Listing(
        name=row[0],
        version=row[1],
        state=State(row[2]),
        digest=row[3],
        reference=row[4],
        manifest=json.loads(row[5]),
        documentation=row[6],
        findings=tuple(json.loads(row[7])),
        reason=row[8],
        replacement=row[9],
        changed=row[10],
        rating=RatingSummary(average=round(int(stars) / int(count), 2), count=int(count)) if count else None,
    )


def _event(row: Sequence[Any]) -> Event:
    return Event(
        cursor=row[0],
        at=row[1],
        kind=row[2],
        publisher=row[3],
        agent=row[4],
        version=row[5],
        state=None if row[6] is None else State(row[6]),
        digest=row[7],
    )
