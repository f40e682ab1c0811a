"""What the reference marketplace keeps: publishers, keys, versions, actions and events, in an SQLite file."""

import contextlib
import json
import sqlite3
import threading
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any, Final

from orchestrator_marketplace.marketplaces import Event, Listing, MarketplaceError, Problem, Query
from orchestrator_marketplace.names import parse_version, skeleton
from orchestrator_marketplace.workflow import EVER_PUBLIC, PUBLIC, State

_TABLES: Final = """\
CREATE TABLE IF NOT EXISTS publishers (name TEXT PRIMARY KEY, skeleton TEXT NOT NULL UNIQUE);
CREATE TABLE IF NOT EXISTS keys (
  publisher TEXT NOT NULL REFERENCES publishers, pem TEXT NOT NULL, PRIMARY KEY (publisher, pem));
CREATE TABLE IF NOT EXISTS versions (
  publisher TEXT NOT NULL REFERENCES publishers, agent TEXT NOT NULL, version TEXT NOT NULL, state TEXT NOT NULL,
  digest TEXT NOT NULL, reference TEXT NOT NULL, manifest TEXT NOT NULL, documentation TEXT NOT NULL,
  findings TEXT NOT NULL, reason TEXT, replacement TEXT, changed TEXT NOT NULL,
  PRIMARY KEY (publisher, agent, version));
CREATE INDEX IF NOT EXISTS version_states ON versions (state);
CREATE TABLE IF NOT EXISTS actions (id TEXT PRIMARY KEY, envelope BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS events (
  cursor INTEGER PRIMARY KEY AUTOINCREMENT, at TEXT NOT NULL, kind TEXT NOT NULL, publisher TEXT NOT NULL, agent TEXT,
  version TEXT, state TEXT, digest TEXT);
"""
_COLUMNS: Final = (
    "publisher, agent, version, state, digest, reference, manifest, documentation, findings, reason,"
    " replacement, changed"
)
_BUSY_SECONDS: Final = 30.0


class Catalogue:
    """See the module; several threads and processes may use one file.

    Args:
        file: Made when it is not there.
    """

    def __init__(self, file: Path) -> None:
        """Open the file."""
        file.parent.mkdir(parents=True, exist_ok=True)
        self._lock = threading.RLock()  # what is read within a change is of the change
        self._database = sqlite3.connect(
            file, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False
        )
        self._database.execute("PRAGMA journal_mode = WAL")
        self._database.execute("PRAGMA foreign_keys = ON")
        self._database.executescript(_TABLES)

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._database.close()

    @contextlib.contextmanager
    def change(self) -> Generator["Change"]:
        """Change several things at once: all of them, or none when an error leaves this.

        Raises:
            MarketplaceError: `unavailable`.
        """
        with self._lock:
            try:
                self._database.execute("BEGIN IMMEDIATE")
                try:
                    yield Change(self._database)
                except BaseException:
                    self._database.execute("ROLLBACK")
                    raise
                self._database.execute("COMMIT")
            except sqlite3.OperationalError as error:
                raise _unavailable(error) from error

    def _rows(self, text: str, *values: object) -> list[tuple[Any, ...]]:
        with self._lock:
            try:
                return self._database.execute(text, values).fetchall()
            except sqlite3.OperationalError as error:
                raise _unavailable(error) from error

    def keys(self, publisher: str) -> tuple[str, ...] | None:
        """Return a publisher's keys as PEM; None when there is no such publisher."""
        if not self._rows("SELECT 1 FROM publishers WHERE name = ?", publisher):
            return None
        return tuple(
            pem for (pem,) in self._rows("SELECT pem FROM keys WHERE publisher = ? ORDER BY pem", publisher)
        )

    def version(self, publisher: str, agent: str, version: str) -> Listing | None:
        """Return a version; None when there is none."""
        where = "publisher = ? AND agent = ? AND version = ?"
        rows = self._rows(f"SELECT {_COLUMNS} FROM versions WHERE {where}", publisher, agent, version)
        return _listing(rows[0]) if rows else None

    def versions(self, publisher: str, agent: str) -> tuple[Listing, ...]:
        """Return the versions that were ever public, the highest first."""
        where = f"publisher = ? AND agent = ? AND state IN ({_marks(EVER_PUBLIC)})"
        rows = self._rows(f"SELECT {_COLUMNS} FROM versions WHERE {where}", publisher, agent, *EVER_PUBLIC)
        found = map(_listing, rows)
        return tuple(sorted(found, key=lambda one: parse_version(one.version), reverse=True))

    def in_checks(self) -> tuple[Listing, ...]:
        """Return the versions that wait to be checked, the oldest first."""
        text = f"SELECT {_COLUMNS} FROM versions WHERE state = ? ORDER BY changed"
        return tuple(map(_listing, self._rows(text, State.CHECKS)))

    def search(self, query: Query) -> tuple[Listing, ...]:
        """Return a page of public agents and one more, where there are more."""
        clauses, values = [f"state IN ({_marks(PUBLIC)})"], [str(state) for state in PUBLIC]
        for column, value in (
            ("publisher", query.publisher),
            ("json_extract(manifest, '$.framework')", query.framework),
            ("json_extract(manifest, '$.licence')", query.licence),
        ):
            if value is not None:
                clauses.append(f"{column} = ?")
                values.append(value)
        for word in query.text.lower().split():
            escaped = word.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
            searched = "publisher || '/' || agent || ' ' || json_extract(manifest, '$.summary') || ' ' || documentation"
            clauses.append(f"lower({searched}) LIKE ? ESCAPE '\\'")
            values.append(f"%{escaped}%")
        if query.after is not None:
            clauses.append("publisher || '/' || agent > ?")
            values.append(query.after)
        order = "ORDER BY publisher || '/' || agent"
        rows = self._rows(f"SELECT {_COLUMNS} FROM versions WHERE {' AND '.join(clauses)} {order}", *values)
        highest: dict[str, Listing] = {}
        for one in map(_listing, rows):
            known = highest.get(one.name)
            if known is None and len(highest) > query.limit:
                break
            if known is None or parse_version(one.version) > parse_version(known.version):
                highest[one.name] = one
        return tuple(highest.values())

    def events(self, after: int, limit: int) -> tuple[Event, ...]:
        """Return the events after a cursor."""
        columns = "cursor, at, kind, publisher, agent, version, state, digest"
        rows = self._rows(
            f"SELECT {columns} FROM events WHERE cursor > ? ORDER BY cursor LIMIT ?", after, limit
        )
        return tuple(
            Event(
                cursor=row[0],
                at=row[1],
                kind=row[2],
                publisher=row[3],
                agent=row[4],
                version=row[5],
                state=None if row[6] is None else State(row[6]),
                digest=row[7],
            )
            for row in rows
        )


class Change:
    """What may be done within one change."""

    def __init__(self, database: sqlite3.Connection) -> None:
        """Change a database."""
        self._database = database

    def first_time(self, action: str, envelope: bytes) -> bool:
        """Note an action; tell whether it was not noted before."""
        done = self._database.execute("INSERT OR IGNORE INTO actions VALUES (?, ?)", (action, envelope))
        return done.rowcount == 1

    def add_publisher(self, name: str) -> None:
        """Add a publisher.

        Raises:
            MarketplaceError: `conflict` when the name is taken, or can be mistaken for one that is.
        """
        try:
            self._database.execute("INSERT INTO publishers VALUES (?, ?)", (name, skeleton(name)))
        except sqlite3.IntegrityError as error:
            raise MarketplaceError(
                Problem.CONFLICT, f"the publisher {name!r} is there, or one whose name looks like it"
            ) from error

    def add_key(self, publisher: str, pem: str) -> None:
        """Let a key sign for a publisher."""
        self._database.execute("INSERT OR IGNORE INTO keys VALUES (?, ?)", (publisher, pem))

    def remove_key(self, publisher: str, pem: str) -> bool:
        """Let a key no longer sign; tell whether it did."""
        where = "publisher = ? AND pem = ?"
        return self._database.execute(f"DELETE FROM keys WHERE {where}", (publisher, pem)).rowcount == 1

    def write(self, listing: Listing) -> None:
        """Write a version as it is now."""
        publisher, _, agent = listing.name.partition("/")
        values: Sequence[object] = (
            publisher, agent, listing.version, listing.state, listing.digest, listing.reference,
            json.dumps(dict(listing.manifest)), listing.documentation, json.dumps(listing.findings), listing.reason,
            listing.replacement, listing.changed,
        )  # fmt: skip
        self._database.execute(f"REPLACE INTO versions ({_COLUMNS}) VALUES ({_marks(values)})", values)

    def tell(self, event: Event) -> None:
        """Add an event; its cursor is given here."""
        columns = "at, kind, publisher, agent, version, state, digest"
        values = (
            event.at,
            event.kind,
            event.publisher,
            event.agent,
            event.version,
            event.state,
            event.digest,
        )
        self._database.execute(f"INSERT INTO events ({columns}) VALUES ({_marks(values)})", values)


def _marks(values: Sequence[object] | frozenset[State]) -> str:
    return ", ".join("?" * len(values))


def _listing(row: tuple[Any, ...]) -> Listing:
    return Listing(
        name=f"{row[0]}/{row[1]}",
        version=row[2],
        state=State(row[3]),
        digest=row[4],
        reference=row[5],
        manifest=json.loads(row[6]),
        documentation=row[7],
        findings=tuple(json.loads(row[8])),
        reason=row[9],
        replacement=row[10],
        changed=row[11],
    )


def _unavailable(error: sqlite3.OperationalError) -> MarketplaceError:
    return MarketplaceError(
        Problem.UNAVAILABLE, "the marketplace's database does not answer", cause=str(error)
    )
