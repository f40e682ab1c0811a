"""The file of a gateway: its journal and its ledger share it, and so the wait for the disk."""

from pathlib import Path
from typing import Final

from orchestrator_gateway.ledger import COUNTS, MEASURES
from orchestrator_gateway.sqlite_database import SqliteDatabase

VERSION: Final = 3
"""Of the schema. Calls were only answered ones in the first; the ledger had a file of its own until the second."""

# numbers are never used again: one that is waited for must not turn into another call
_JOURNAL: Final = """
CREATE TABLE IF NOT EXISTS calls (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    tenant TEXT NOT NULL, execution TEXT NOT NULL, agent TEXT NOT NULL,
    attempt TEXT NOT NULL, request TEXT NOT NULL, exact TEXT NOT NULL, loose TEXT NOT NULL,
    holder TEXT NOT NULL, lease REAL, recorded REAL NOT NULL, words TEXT NOT NULL DEFAULT '',
    input_tokens INTEGER, output_tokens INTEGER, cached_tokens INTEGER, content_type TEXT, body BLOB
);
CREATE INDEX IF NOT EXISTS calls_of_execution ON calls (tenant, execution, agent);
CREATE INDEX IF NOT EXISTS calls_with_words ON calls (tenant, execution, agent) WHERE words <> '';
CREATE INDEX IF NOT EXISTS calls_by_age ON calls (recorded);
CREATE TABLE IF NOT EXISTS given (
    number INTEGER NOT NULL REFERENCES calls ON DELETE CASCADE,
    attempt TEXT NOT NULL, request TEXT NOT NULL, PRIMARY KEY (number, attempt)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS steps (
    tenant TEXT NOT NULL, execution TEXT NOT NULL, step TEXT NOT NULL, occurrence INTEGER NOT NULL,
    recorded REAL NOT NULL, result BLOB, PRIMARY KEY (tenant, execution, step, occurrence)
);
CREATE INDEX IF NOT EXISTS steps_by_age ON steps (recorded);
"""
_COUNTED: Final = ", ".join(f"{count} INTEGER NOT NULL" for count in COUNTS)
_HELD: Final = ", ".join(f"{measure} INTEGER NOT NULL" for measure in MEASURES)
_LEDGER: Final = f"""
CREATE TABLE IF NOT EXISTS spent (
    tenant TEXT NOT NULL, kind TEXT NOT NULL, name TEXT NOT NULL, day TEXT NOT NULL,
    {_COUNTED}, updated REAL NOT NULL,
    PRIMARY KEY (tenant, kind, name, day)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS held (
    tenant TEXT NOT NULL, kind TEXT NOT NULL, name TEXT NOT NULL, day TEXT NOT NULL, gateway TEXT NOT NULL,
    {_HELD},
    PRIMARY KEY (tenant, kind, name, day, gateway)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS gateways (
    gateway TEXT PRIMARY KEY, process TEXT NOT NULL, alive REAL NOT NULL
) WITHOUT ROWID
"""


def open_sqlite(file: Path) -> SqliteDatabase:
    """Open a gateway's file, made when missing.

    Raises:
        JournalUnavailable: It cannot be opened, or another version of this program made it.
    """
    return SqliteDatabase(file, _JOURNAL + _LEDGER, version=VERSION)
