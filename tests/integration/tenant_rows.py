"""What a database holds of a tenant."""

from collections import Counter

import psycopg

from tests.integration.tenant_plants import Plants


def rows_about(database: str, of: Plants, by: Plants) -> Counter[tuple[str, str]]:
    """Return all rows, of all tables, that say anything of a tenant, and all that do not say that they are another's.

    Args:
        database: URL.
        of: Whose rows.
        by: Whose own rows are left out: they may change.
    """
    words = [of.secret, of.location, of.tenant, of.run, of.assets_run, of.backfill, of.assets_backfill]
    found = Counter[tuple[str, str]]()
    with psycopg.connect(database) as connection:
        tables = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
        for (table,) in tables:
            for (row,) in connection.execute(f'SELECT t::text FROM "{table}" t'.encode()):
                about = any(word in row for word in words)
                if about or not any(word in row for word in (by.secret, by.location, by.tenant, by.run)):
                    found[table, row] += 1
    return found


def changed(before: Counter[tuple[str, str]], after: Counter[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return rows that came or went; a new snapshot is nobody's, for it is found by the digest of what it holds."""
    came = [row for row in after - before if row[0] != "snapshots"]
    return [*came, *(before - after)]
