"""The tables of a catalogue, and how those of an earlier version become them."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

from orchestrator_marketplace import evidence_store
from orchestrator_marketplace.actions import moment
from orchestrator_marketplace.catalogue_databases import Transaction
from orchestrator_marketplace.refusals import BundleRefused, Refusal

VERSION: Final = 2
"""Of the schema; 1 was in SQLite alone, and had no table `facts`."""

# one reads them in SQLite and in PostgreSQL alike; names are ordered by their bytes in both
TABLES: Final[Sequence[str]] = (
    "CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value BIGINT NOT NULL)",
    "CREATE TABLE IF NOT EXISTS publishers (name TEXT PRIMARY KEY, skeleton TEXT NOT NULL UNIQUE)",
    "CREATE TABLE IF NOT EXISTS keys (publisher TEXT NOT NULL, pem TEXT NOT NULL, PRIMARY KEY (publisher, pem))",
    "CREATE TABLE IF NOT EXISTS versions ("
    ' name TEXT COLLATE "C" NOT NULL, version TEXT NOT NULL, publisher TEXT NOT NULL, state TEXT NOT NULL,'
    " framework TEXT NOT NULL, licence TEXT NOT NULL, searched TEXT NOT NULL, digest TEXT NOT NULL,"
    " reference TEXT NOT NULL, manifest TEXT NOT NULL, documentation TEXT NOT NULL, findings TEXT NOT NULL,"
    " reason TEXT, replacement TEXT, changed TEXT NOT NULL, PRIMARY KEY (name, version))",
    "CREATE INDEX IF NOT EXISTS version_states ON versions (state, publisher)",
    "CREATE TABLE IF NOT EXISTS actions (id TEXT PRIMARY KEY, at TEXT NOT NULL, envelope BYTEA NOT NULL)",
    "CREATE INDEX IF NOT EXISTS actions_by_age ON actions (at)",
    "CREATE TABLE IF NOT EXISTS events ("
    " cursor BIGINT PRIMARY KEY, at TEXT NOT NULL, kind TEXT NOT NULL, publisher TEXT NOT NULL, agent TEXT,"
    " version TEXT, state TEXT, digest TEXT)",
    "CREATE INDEX IF NOT EXISTS events_of_publishers ON events (publisher, kind, at)",
    "CREATE TABLE IF NOT EXISTS usage_reports ("
    " id TEXT NOT NULL, sequence BIGINT NOT NULL, publisher TEXT NOT NULL, month TEXT NOT NULL,"
    ' platform TEXT COLLATE "C" NOT NULL, digest TEXT NOT NULL, envelope BYTEA NOT NULL, PRIMARY KEY (id, sequence))',
    "CREATE INDEX IF NOT EXISTS usage_of_publishers ON usage_reports (publisher, month, platform)",
    "CREATE TABLE IF NOT EXISTS ratings ("
    ' name TEXT NOT NULL, platform TEXT COLLATE "C" NOT NULL, stars BIGINT NOT NULL, version TEXT NOT NULL,'
    " at TEXT NOT NULL, comment TEXT NOT NULL, PRIMARY KEY (name, platform))",
    # times are Unix times in milliseconds
    "CREATE TABLE IF NOT EXISTS subscriptions ("
    " id TEXT PRIMARY KEY, owner TEXT NOT NULL, url TEXT NOT NULL, events TEXT NOT NULL, about TEXT,"
    " state TEXT NOT NULL, cursor BIGINT NOT NULL, failures BIGINT NOT NULL, error TEXT, secret TEXT NOT NULL,"
    " due BIGINT NOT NULL, leased BIGINT NOT NULL, lease TEXT NOT NULL)",
    "CREATE INDEX IF NOT EXISTS subscriptions_of_owners ON subscriptions (owner)",
    evidence_store.TABLE,
)

_FIRST_VERSIONS: Final = (
    "SELECT publisher, agent, version, state, digest, reference, manifest, documentation, findings, reason,"
    " replacement, changed FROM versions"
)


def prepare(transaction: Transaction) -> list[tuple[Any, ...]]:
    """Make tables that are missing, and those of an earlier schema into these.

    Returns:
        Versions of a catalogue of schema 1, for whoever writes them as versions are written now: publisher, agent, and
        the columns from `version` on that both have. Empty for any other catalogue.

    Raises:
        BundleRefused: `malformed` when the catalogue is that of a later release.
    """
    first = _take_first(transaction) if "agent" in transaction.columns("versions") else []
    for statement in TABLES:
        transaction.execute(statement)
    found = transaction.execute("SELECT value FROM facts WHERE name = 'schema'").fetchone()
    if found is None:
        facts = "('schema', ?), ('cursor', (SELECT coalesce(max(cursor), 0) FROM events)), ('forgotten', 0)"
        transaction.execute(f"INSERT INTO facts (name, value) VALUES {facts}", (VERSION,))
    elif found[0] > VERSION:
        raise BundleRefused(
            Refusal.MALFORMED,
            f"the catalogue has schema {found[0]}, and this release knows {VERSION}: use a later release",
        )
    return first


def _take_first(transaction: Transaction) -> list[tuple[Any, ...]]:
    rows = transaction.execute(_FIRST_VERSIONS).fetchall()
    transaction.execute("DROP TABLE versions")
    transaction.execute("ALTER TABLE actions ADD COLUMN at TEXT NOT NULL DEFAULT ''")
    transaction.execute("UPDATE actions SET at = ?", (moment(datetime.now(UTC)),))
    return rows
