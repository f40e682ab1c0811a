"""The audit log in a database: only ever added to, in one order for all servers."""

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

from orchestrator_resources.state_databases import StateDatabase, Transaction
from orchestrator_tenancy.audit.events import FIRST_DIGEST, AuditEvent, AuditRecord, Head, chained

_HOLDS: Final = "the audit log"
_TABLE: Final = "audit_log"
_TABLES: Final = (
    f"CREATE TABLE IF NOT EXISTS {_TABLE} ("
    " number BIGINT PRIMARY KEY, at BIGINT NOT NULL, actor TEXT NOT NULL, action TEXT NOT NULL, tenant TEXT,"
    " target TEXT NOT NULL, allowed INTEGER NOT NULL, reason TEXT NOT NULL, digest TEXT NOT NULL,"
    " seal TEXT NOT NULL)",
)
_COLUMNS: Final = "number, at, actor, action, tenant, target, allowed, reason, digest, seal"
_PAGE: Final = 1_000


class AuditLog:
    """See `events` for what a record holds.

    Args:
        database: Where it is.
        keys: The key that seals, and those that did before it.
        now: Clock, in Unix seconds.

    Raises:
        AgentError: `state_unavailable`, from every method, when the database does not answer.
    """

    def __init__(
        self, database: StateDatabase, keys: Sequence[bytes], now: Callable[[], float] = time.time
    ) -> None:
        self._database, self.keys, self._now = database, keys, now
        database.prepare(_HOLDS, _TABLES)
        database.protect(_HOLDS, _TABLE, "number")

    def append(self, events: Sequence[AuditEvent]) -> None:
        """Add decisions, durably."""
        with self._database.transaction(_HOLDS, alone=True) as database:
            records = chained(events, _head(database), at=lambda: int(self._now() * 1e6), key=self.keys[0])
            database.executemany(
                f"INSERT INTO {_TABLE} ({_COLUMNS}) VALUES (?,?,?,?,?,?,?,?,?,?)", [_row(r) for r in records]
            )

    def head(self) -> Head:
        """Return where it ends now."""
        with self._database.transaction(_HOLDS) as database:
            return _head(database)

    def records(self, after: int = 0) -> Iterator[AuditRecord]:
        """Yield the records that there are, in their order, from the one after a number."""
        while True:
            with self._database.transaction(_HOLDS) as database:
                rows = database.execute(
                    f"SELECT {_COLUMNS} FROM {_TABLE} WHERE number > ? ORDER BY number LIMIT {_PAGE}",
                    (after,),
                ).fetchall()
            for row in rows:
                record = _record(row)
                after = record.number
                yield record
            if len(rows) < _PAGE:
                return


def _head(database: Transaction) -> Head:
    last = database.execute(f"SELECT number, digest FROM {_TABLE} ORDER BY number DESC LIMIT 1").fetchone()
    return Head(number=0, digest=FIRST_DIGEST) if last is None else Head(number=last[0], digest=last[1])


def _row(record: AuditRecord) -> Sequence[object]:
    event = record.event
    who = (event.actor, event.action, event.tenant, event.target, int(event.allowed), event.reason)
    return (record.number, record.at, *who, record.digest, record.seal)


def _record(row: tuple[Any, ...]) -> AuditRecord:
    number, at, actor, action, tenant, target, allowed, reason, digest, seal = row
    event = AuditEvent(
        actor=actor, action=action, tenant=tenant, target=target, allowed=bool(allowed), reason=reason
    )
    return AuditRecord(number=number, at=at, event=event, digest=digest, seal=seal)
