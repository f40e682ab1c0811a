"""The ledger in an SQLite file, which gateways of one machine may share."""

import secrets
import sqlite3
import time
from collections.abc import Callable, Sequence
from typing import Final

from orchestrator_gateway.ledger import (
    COUNTS,
    LEASE_SECONDS,
    MEASURES,
    Account,
    Amount,
    Bound,
    Hold,
    Spent,
    Use,
    UsedUp,
    amount_of,
    span,
    uses_of,
)
from orchestrator_gateway.process_names import is_gone, own_name
from orchestrator_gateway.sqlite_database import SqliteDatabase

_KEY: Final = "tenant = ? AND kind = ? AND name = ?"
_SPENT: Final = ", ".join(f"COALESCE(SUM({measure}), 0)" for measure in MEASURES)
_SUM: Final = ", ".join(f"SUM({count})" for count in COUNTS)
_SUM_BETWEEN: Final = ", ".join(
    f"SUM(CASE WHEN day >= ? THEN {count} ELSE 0 END) AS {count}" for count in COUNTS
)
_MARKS: Final = ",".join("?" * len(COUNTS))
_ADD_SPENT: Final = (
    f"INSERT INTO spent (tenant, kind, name, day, {', '.join(COUNTS)}, updated) VALUES (?,?,?,?,{_MARKS},?)"
    f" ON CONFLICT DO UPDATE SET {', '.join(f'{count} = {count} + excluded.{count}' for count in COUNTS)},"
    " updated = excluded.updated"
)
_ADD_HELD: Final = (
    f"INSERT INTO held (tenant, kind, name, day, gateway, {', '.join(MEASURES)})"
    f" VALUES (?,?,?,?,?,{','.join('?' * len(MEASURES))})"
    f" ON CONFLICT DO UPDATE SET {', '.join(f'{measure} = {measure} + excluded.{measure}' for measure in MEASURES)}"
)
_GIVE_BACK: Final = (
    f"UPDATE held SET {', '.join(f'{measure} = MAX(0, {measure} - ?)' for measure in MEASURES)}"
    f" WHERE {_KEY} AND day = ? AND gateway = ?"
)
_DROP_EMPTY: Final = f"DELETE FROM held WHERE {_KEY} AND day = ? AND gateway = ? AND calls = 0"
_AT_ONCE: Final = 500
_DEAD_SECONDS: Final = 24 * 3600.0
"""After which what a gateway held is dropped; before, one that was only asleep finds its holds again."""


class SqliteLedger:
    """See `ledger.Ledger`.

    Args:
        database: Which is closed with this ledger; see `sqlite_store.open_sqlite`.
        clock: Unix time in seconds, of which gateways of several machines know the same to some seconds.
    """

    def __init__(self, database: SqliteDatabase, *, clock: Callable[[], float] = time.time) -> None:
        """Use a database, as a gateway of its own."""
        self._database = database
        self._gateway = secrets.token_hex(8)
        self._clock = clock
        self._renewed = 0.0

    async def reserve(
        self, accounts: Sequence[Account], bounds: Sequence[Bound], amount: Amount, day: str
    ) -> Hold | UsedUp:
        """Hold an amount in every account that has a bound, or in none."""
        held_in = tuple(dict.fromkeys(bound.account for bound in bounds))
        hold = Hold(accounts=tuple(accounts), held_in=held_in, day=day, amount=amount)
        if not bounds:
            return hold
        now = self._clock()
        due = now > self._renewed + LEASE_SECONDS / 3

        def work(database: sqlite3.Connection) -> Hold | UsedUp:
            if due:
                self._renew(database, now)
            used_up = self._first_used_up(database, bounds, day, now)
            if used_up is not None and not used_up.final and _drop_gone(database):
                used_up = self._first_used_up(database, bounds, day, now)
            if used_up is not None:
                return used_up
            held = tuple(getattr(amount, measure) for measure in MEASURES)
            rows = [(*_key(account), day, self._gateway, *held) for account in held_in]
            database.executemany(_ADD_HELD, rows)
            return hold

        verdict = await self._database.do(work, durable=False)
        if due:
            self._renewed = now
        return verdict

    async def settle(self, hold: Hold, spent: Amount | None) -> None:
        """Give back what is held and count what was spent; durable when this returns."""

        def work(database: sqlite3.Connection) -> None:
            held = tuple(getattr(hold.amount, measure) for measure in MEASURES)
            rows = [(*held, *_key(account), hold.day, self._gateway) for account in hold.held_in]
            database.executemany(_GIVE_BACK, rows)
            database.executemany(_DROP_EMPTY, [row[len(held) :] for row in rows])
            if spent is not None:
                counted, now = tuple(getattr(spent, count) for count in COUNTS), self._clock()
                rows = [(*_key(account), hold.day, *counted, now) for account in hold.accounts]
                database.executemany(_ADD_SPENT, rows)

        await self._database.do(work, durable=spent is not None)

    async def renew(self) -> None:
        """Say that this gateway lives."""
        await self._database.do(lambda database: self._renew(database, self._clock()), durable=False)

    async def executions(self, tenant: str, names: Sequence[str]) -> dict[str, Amount]:
        """Return what executions spent in all their tries, those that spent something."""

        def work(database: sqlite3.Connection) -> dict[str, Amount]:
            found = dict[str, Amount]()
            for start in range(0, len(names), _AT_ONCE):
                part = names[start : start + _AT_ONCE]
                rows = database.execute(
                    f"SELECT name, {_SUM} FROM spent WHERE tenant = ? AND kind = 'execution'"
                    f" AND name IN ({','.join('?' * len(part))}) GROUP BY name",
                    (tenant, *part),
                )
                found.update({name: amount_of(counts) for name, *counts in rows})
            return found

        return await self._database.do(work)

    async def days(self, tenant: str, first: str, last: str) -> Sequence[Spent]:
        """Return what agents, code locations and the tenant spent on each day from the first to the last."""
        rows = await self._database.do(
            lambda database: database.execute(
                f"SELECT kind, name, day, {', '.join(COUNTS)} FROM spent"
                " WHERE tenant = ? AND kind NOT IN ('execution', 'use') AND day BETWEEN ? AND ?"
                " ORDER BY day, kind, name",
                (tenant, first, last),
            ).fetchall()
        )
        return [
            Spent(account=Account(tenant=tenant, kind=kind, name=name), day=day, amount=amount_of(counts))
            for kind, name, day, *counts in rows
        ]

    async def uses(
        self, first: str, last: str, *, tenant: str | None = None, each: bool = False
    ) -> Sequence[Use]:
        """Return what was spent with bundles from the first day to the last, by tenant and bundle."""
        whose, values = ("", ()) if tenant is None else (" AND tenant = ?", (tenant,))
        of_each = f"""
            SELECT tenant, CASE kind WHEN 'use' THEN name ELSE '' END AS name, kind = 'use' AND MIN(day) >= ? AS began,
                {_SUM_BETWEEN}
            FROM spent WHERE kind IN ('tenant', 'use') AND day <= ?{whose}
            GROUP BY tenant, kind, name HAVING MAX(day) >= ?"""
        bundle, execution = "SUBSTR(name, 1, INSTR(name, ' ') - 1)", "SUBSTR(name, INSTR(name, ' ') + 1)"
        query = (
            f"SELECT tenant, {bundle}, {execution}, began, {', '.join(COUNTS)} FROM ({of_each}) ORDER BY tenant, name"
            if each
            else f"SELECT tenant, {bundle} AS bundle, '', SUM(began), {_SUM} FROM ({of_each})"
            " GROUP BY tenant, bundle ORDER BY tenant, bundle"
        )
        between = (first, *(first,) * len(COUNTS), last, *values, first)
        rows = await self._database.do(lambda database: database.execute(query, between).fetchall())
        return uses_of(rows)

    async def forget(self, tenant: str, executions: Sequence[str]) -> None:
        """Drop the accounts of executions whose results are stored; what their agent spent stays."""
        rows = [(tenant, execution) for execution in executions]

        def work(database: sqlite3.Connection) -> None:
            for table in ("spent", "held"):
                database.executemany(
                    f"DELETE FROM {table} WHERE tenant = ? AND kind = 'execution' AND name = ?", rows
                )

        await self._database.do(work)

    async def purge(self, executions_before: float, days_before: str) -> None:
        """Drop accounts of executions that spent nothing since a Unix time, and days before a day."""

        def work(database: sqlite3.Connection) -> None:
            database.execute(
                "DELETE FROM spent WHERE kind = 'execution' AND updated < ?", (executions_before,)
            )
            database.execute("DELETE FROM spent WHERE kind <> 'execution' AND day < ?", (days_before,))

        await self._database.do(work)

    async def close(self) -> None:
        """Do what was asked for, and release the database."""
        await self._database.close()

    def _renew(self, database: sqlite3.Connection, now: float) -> None:
        row = (self._gateway, own_name(), now)
        database.execute("INSERT OR REPLACE INTO gateways VALUES (?, ?, ?)", row)
        dead = "SELECT gateway FROM gateways WHERE alive < ?"
        database.execute(f"DELETE FROM held WHERE gateway IN ({dead})", (now - _DEAD_SECONDS,))
        database.execute("DELETE FROM gateways WHERE alive < ?", (now - _DEAD_SECONDS,))

    def _first_used_up(
        self, database: sqlite3.Connection, bounds: Sequence[Bound], day: str, now: float
    ) -> UsedUp | None:
        """Return a bound that is reached; one for which no waiting helps before others."""
        found = [reached for bound in bounds if (reached := self._used_up(database, bound, day, now))]
        return next((reached for reached in found if reached.final), None) or next(iter(found), None)

    def _used_up(self, database: sqlite3.Connection, bound: Bound, day: str, now: float) -> UsedUp | None:
        days = span(bound.per, day)
        where = f"{_KEY} AND day BETWEEN ? AND ?"
        key = (*_key(bound.account), *days)
        spent = database.execute(f"SELECT {_SPENT} FROM spent WHERE {where}", key).fetchone()
        held = database.execute(
            f"SELECT {_SPENT} FROM held JOIN gateways USING (gateway) WHERE {where} AND alive >= ?",
            (*key, now - LEASE_SECONDS),
        ).fetchone()
        reached = [
            UsedUp(bound=bound, measure=measure, spent=spent[number], held=held[number])
            for number, measure in enumerate(MEASURES)
            if (allowed := bound.allowed(measure)) is not None and spent[number] + held[number] >= allowed
        ]
        return next((found for found in reached if found.final), None) or next(iter(reached), None)


def _drop_gone(database: sqlite3.Connection) -> bool:
    """Drop what gateways hold that have ended for sure, without waiting for their lease; False when there are none."""
    known = database.execute("SELECT gateway, process FROM gateways").fetchall()
    gone = [(gateway,) for gateway, process in known if is_gone(process)]
    for table in ("held", "gateways"):
        database.executemany(f"DELETE FROM {table} WHERE gateway = ?", gone)
    return bool(gone)


def _key(account: Account) -> tuple[str, str, str]:
    return account.tenant, account.kind, account.name
