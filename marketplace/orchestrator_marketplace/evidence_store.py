"""Evidence as a catalogue keeps it, in a table of its own."""

from typing import Final

from orchestrator_marketplace.catalogue_databases import Transaction
from orchestrator_marketplace.evidence import Evidence
from orchestrator_runtimes.codec import decode, encode
from orchestrator_runtimes.json_values import dump, parse

TABLE: Final = (
    "CREATE TABLE IF NOT EXISTS evidence ("
    " name TEXT NOT NULL, version TEXT NOT NULL, content TEXT NOT NULL, PRIMARY KEY (name, version))"
)


def read_evidence(transaction: Transaction, name: str, version: str) -> Evidence | None:
    """Return what was seen of a version; None when it never passed the checks."""
    where = "name = ? AND version = ?"
    found = transaction.execute(f"SELECT content FROM evidence WHERE {where}", (name, version)).fetchone()
    return None if found is None else decode(Evidence, parse(found[0].encode()))


def write_evidence(transaction: Transaction, name: str, version: str, evidence: Evidence) -> None:
    """Write what was seen of a version, in place of what was seen before."""
    transaction.execute(
        "INSERT INTO evidence (name, version, content) VALUES (?, ?, ?)"
        " ON CONFLICT (name, version) DO UPDATE SET content = excluded.content",
        (name, version, dump(encode(evidence)).decode()),
    )
