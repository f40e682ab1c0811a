"""The ledger in a PostgreSQL database, which gateways of many machines share.

Work whose connection was lost is done once more: a hold has a name, by which it is held once and counted once.
"""

import hashlib
import secrets
import time
from collections.abc import Callable, Sequence
from typing import Any, Final, LiteralString

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
from orchestrator_gateway.postgres_database import Connection, PostgresDatabase, PostgresSchema

VERSION: Final = 1
"""Of the schema."""

_NAME: Final[LiteralString] = "orchestrator_ledger"
_STATEMENTS: Final[LiteralString] = """
CREATE TABLE spent (
    tenant TEXT NOT NULL, kind TEXT NOT NULL, name TEXT NOT NULL, day TEXT NOT NULL,
    tokens BIGINT NOT NULL, cost BIGINT NOT NULL, calls BIGINT NOT NULL, milliseconds BIGINT NOT NULL,
    unpriced_calls BIGINT NOT NULL, estimated_calls BIGINT NOT NULL, updated DOUBLE PRECISION NOT NULL,
    PRIMARY KEY (tenant, kind, name, day)
);
CREATE TABLE held (
    hold TEXT NOT NULL, gateway TEXT NOT NULL,
    tenant TEXT NOT NULL, kind TEXT NOT NULL, name TEXT NOT NULL, day TEXT NOT NULL,
    tokens BIGINT NOT NULL, cost BIGINT NOT NULL, calls BIGINT NOT NULL, milliseconds BIGINT NOT NULL,
    PRIMARY KEY (hold, kind)
);
CREATE INDEX held_by_account ON held (tenant, kind, name);
CREATE TABLE gateways (gateway TEXT PRIMARY KEY, alive DOUBLE PRECISION NOT NULL);
"""
_SPENT: Final[LiteralString] = f"{_NAME}.spent"
_HELD: Final[LiteralString] = f"{_NAME}.held"
_GATEWAYS: Final[LiteralString] = f"{_NAME}.gateways"
_KEY: Final[LiteralString] = "tenant = %s AND kind = %s AND name = %s"
_SUMS: Final[LiteralString] = (
    "coalesce(sum(tokens), 0)::bigint, coalesce(sum(cost), 0)::bigint, coalesce(sum(calls), 0)::bigint,"
    " coalesce(sum(milliseconds), 0)::bigint"
)
_ALL_SUMS: Final[LiteralString] = (
    f"{_SUMS}, coalesce(sum(unpriced_calls), 0)::bigint, coalesce(sum(estimated_calls), 0)::bigint"
)
_COUNTED: Final[LiteralString] = f"""
SELECT * FROM (SELECT {_SUMS} FROM {_SPENT} WHERE {_KEY} AND day BETWEEN %s AND %s) AS spent
CROSS JOIN (SELECT {_SUMS} FROM {_HELD} JOIN {_GATEWAYS} USING (gateway)
    WHERE {_KEY} AND day BETWEEN %s AND %s AND hold <> %s AND alive >= %s) AS held
"""
_USES_OF_EACH: Final[LiteralString] = f"""
SELECT tenant, CASE kind WHEN 'use' THEN name ELSE '' END AS name, (kind = 'use' AND min(day) >= %s)::int AS began,
    sum(CASE WHEN day >= %s THEN tokens ELSE 0 END)::bigint AS tokens,
    sum(CASE WHEN day >= %s THEN cost ELSE 0 END)::bigint AS cost,
    sum(CASE WHEN day >= %s THEN calls ELSE 0 END)::bigint AS calls,
    sum(CASE WHEN day >= %s THEN milliseconds ELSE 0 END)::bigint AS milliseconds,
    sum(CASE WHEN day >= %s THEN unpriced_calls ELSE 0 END)::bigint AS unpriced_calls,
    sum(CASE WHEN day >= %s THEN estimated_calls ELSE 0 END)::bigint AS estimated_calls
FROM {_SPENT} WHERE kind IN ('tenant', 'use') AND day <= %s AND (%s::text IS NULL OR tenant = %s)
GROUP BY tenant, kind, spent.name HAVING max(day) >= %s
"""
_EACH_USE: Final[LiteralString] = (
    "SELECT tenant, split_part(name, ' ', 1), split_part(name, ' ', 2), began, tokens, cost, calls, milliseconds,"
    f" unpriced_calls, estimated_calls FROM ({_USES_OF_EACH}) AS uses ORDER BY tenant, name"
)
_USES: Final[LiteralString] = (
    f"SELECT tenant, split_part(name, ' ', 1) AS bundle, '', sum(began)::bigint, {_ALL_SUMS}"
    f" FROM ({_USES_OF_EACH}) AS uses GROUP BY tenant, bundle ORDER BY tenant, bundle"
)
_LOCK: Final[LiteralString] = "SELECT pg_advisory_xact_lock(key) FROM unnest(%s::bigint[]) AS key"
_HOLD: Final[LiteralString] = (
    f"INSERT INTO {_HELD} VALUES (%s,%s,%s,%s,%s,%s,%s,%s,%s,%s) ON CONFLICT DO NOTHING"
)
_COUNT: Final[LiteralString] = f"""
INSERT INTO {_SPENT} AS old VALUES (%s,%s,%s,%s,%s,%s,%s,%s,%s,%s,%s)
ON CONFLICT (tenant, kind, name, day) DO UPDATE SET tokens = old.tokens + excluded.tokens,
    cost = old.cost + excluded.cost, calls = old.calls + excluded.calls,
    milliseconds = old.milliseconds + excluded.milliseconds,
    unpriced_calls = old.unpriced_calls + excluded.unpriced_calls,
    estimated_calls = old.estimated_calls + excluded.estimated_calls, updated = excluded.updated
"""
_PATIENCE_SECONDS: Final = 5.0
_DEAD_SECONDS: Final = 24 * 3600.0
"""After which what a gateway held is dropped; before, one that was only asleep finds its holds again."""


class PostgresLedger:
    """See `ledger.Ledger`; `opened` returns one."""

    def __init__(self, database: PostgresDatabase, clock: Callable[[], float]) -> None:
        """Use a database that has the tables, as a gateway of its own."""
        self._database = database
        self._gateway = secrets.token_hex(8)
        self._clock = clock
        self._renewed = 0.0

    @classmethod
    async def opened(cls, url: str, *, clock: Callable[[], float] = time.time) -> "PostgresLedger":
        """Connect, and make the tables that are missing.

        Args:
            url: Where the database is, with user and password.
            clock: Unix time in seconds, of which gateways of several machines know the same to some seconds.

        Raises:
            JournalUnavailable: It cannot be reached, or has a schema of another version.
        """
        schema = PostgresSchema(name=_NAME, version=VERSION, statements=_STATEMENTS)
        return cls(await PostgresDatabase.opened(url, schema, _PATIENCE_SECONDS), clock)

    async def reserve(
        self, accounts: Sequence[Account], bounds: Sequence[Bound], amount: Amount, day: str
    ) -> Hold | UsedUp:
        """Hold an amount in every account that has a bound, or in none."""
        now = self._clock()
        if now > self._renewed + LEASE_SECONDS / 3:
            await self.renew()
        # the first account holds it, too, where it has no bound: what is held is counted once
        held_in = tuple(dict.fromkeys((accounts[0], *(bound.account for bound in bounds))))
        hold = Hold(
            id=secrets.token_hex(8), accounts=tuple(accounts), held_in=held_in, day=day, amount=amount
        )

        async def work(connection: Connection) -> Hold | UsedUp:
            async with connection.transaction():
                await connection.execute("SET LOCAL synchronous_commit TO off")  # its gateway dies with it
                await connection.execute(_LOCK, (sorted({_lock_of(bound.account) for bound in bounds}),))
                found = [
                    reached for bound in bounds if (reached := await _used_up(connection, bound, hold, now))
                ]
                if found:
                    return next((reached for reached in found if reached.final), found[0])
                rows = [
                    (hold.id, self._gateway, *_key(account), day, *_measures(amount)) for account in held_in
                ]
                async with connection.cursor() as cursor:
                    await cursor.executemany(_HOLD, rows)
                return hold

        return await self._database.do(work)

    async def settle(self, hold: Hold, spent: Amount | None) -> None:
        """Give back what is held and count what was spent; durable when this returns."""
        now = self._clock()

        async def work(connection: Connection) -> None:
            async with connection.transaction():
                freed = await connection.execute(f"DELETE FROM {_HELD} WHERE hold = %s", (hold.id,))
                if spent is None or not freed.rowcount:
                    return
                counts = tuple(getattr(spent, count) for count in COUNTS)
                rows = [(*_key(account), hold.day, *counts, now) for account in hold.accounts]
                async with connection.cursor() as cursor:
                    await cursor.executemany(_COUNT, rows)

        await self._database.do(work)

    async def renew(self) -> None:
        """Say that this gateway lives."""
        now = self._clock()

        async def work(connection: Connection) -> None:
            async with connection.transaction():
                await connection.execute(
                    f"INSERT INTO {_GATEWAYS} VALUES (%s, %s)"
                    " ON CONFLICT (gateway) DO UPDATE SET alive = excluded.alive",
                    (self._gateway, now),
                )
                dead = f"SELECT gateway FROM {_GATEWAYS} WHERE alive < %s"
                before = (now - _DEAD_SECONDS,)
                await connection.execute(f"DELETE FROM {_HELD} WHERE gateway IN ({dead})", before)
                await connection.execute(f"DELETE FROM {_GATEWAYS} WHERE alive < %s", before)

        await self._database.do(work)
        self._renewed = now

    async def executions(self, tenant: str, names: Sequence[str]) -> dict[str, Amount]:
        """Return what executions spent in all their tries, those that spent something."""
        rows = await self._rows(
            f"SELECT name, {_ALL_SUMS} FROM {_SPENT}"
            " WHERE tenant = %s AND kind = 'execution' AND name = ANY(%s) GROUP BY name",
            (tenant, list(names)),
        )
        return {name: amount_of(counts) for name, *counts in rows}

    async def days(self, tenant: str, first: str, last: str) -> Sequence[Spent]:
        """Return what agents, code locations and the tenant spent on each day from the first to the last."""
        rows = await self._rows(
            "SELECT kind, name, day, tokens, cost, calls, milliseconds, unpriced_calls, estimated_calls"
            f" FROM {_SPENT} WHERE tenant = %s AND kind NOT IN ('execution', 'use') AND day BETWEEN %s AND %s"
            " ORDER BY day, kind, name",
            (tenant, first, last),
        )
        return [
            Spent(account=Account(tenant=tenant, kind=kind, name=name), day=day, amount=amount_of(counts))
            for kind, name, day, *counts in rows
        ]

    async def uses(
        self, first: str, last: str, *, tenant: str | None = None, each: bool = False
    ) -> Sequence[Use]:
        """Return what was spent with bundles from the first day to the last, by tenant and bundle."""
        values = (first, *(first,) * len(COUNTS), last, tenant, tenant, first)
        rows = await self._rows(_EACH_USE if each else _USES, values)
        return uses_of(rows)

    async def forget(self, tenant: str, executions: Sequence[str]) -> None:
        """Drop the accounts of executions whose results are stored; what their agent spent stays."""
        await self._execute(
            f"DELETE FROM {_SPENT} WHERE tenant = %s AND kind = 'execution' AND name = ANY(%s)",
            (tenant, list(executions)),
        )

    async def purge(self, executions_before: float, days_before: str) -> None:
        """Drop accounts of executions that spent nothing since a Unix time, and days before a day."""
        await self._execute(
            f"DELETE FROM {_SPENT} WHERE kind = 'execution' AND updated < %s", (executions_before,)
        )
        await self._execute(f"DELETE FROM {_SPENT} WHERE kind <> 'execution' AND day < %s", (days_before,))

    async def close(self) -> None:
        """Let the connections go."""
        await self._database.close()

    async def _rows(self, query: LiteralString, values: tuple[Any, ...]) -> list[tuple[Any, ...]]:
        async def work(connection: Connection) -> list[tuple[Any, ...]]:
            return await (await connection.execute(query, values)).fetchall()

        return await self._database.do(work)

    async def _execute(self, statement: LiteralString, values: tuple[Any, ...]) -> None:
        async def work(connection: Connection) -> None:
            await connection.execute(statement, values)

        await self._database.do(work)


async def _used_up(connection: Connection, bound: Bound, hold: Hold, now: float) -> UsedUp | None:
    """Return what of a bound is reached, first what no waiting helps with; the hold itself does not count."""
    key = (*_key(bound.account), *span(bound.per, hold.day))
    # one statement, which sees one moment: what is settled meanwhile is either held or spent
    counted = await connection.execute(_COUNTED, (*key, *key, hold.id, now - LEASE_SECONDS))
    sums = await counted.fetchone() or ()
    spent, held = sums[: len(MEASURES)], sums[len(MEASURES) :]
    found = [
        UsedUp(bound=bound, measure=measure, spent=spent[number], held=held[number])
        for number, measure in enumerate(MEASURES)
        if (allowed := bound.allowed(measure)) is not None and spent[number] + held[number] >= allowed
    ]
    return next((reached for reached in found if reached.final), None) or next(iter(found), None)


def _key(account: Account) -> tuple[str, str, str]:
    return account.tenant, account.kind, account.name


def _measures(amount: Amount) -> tuple[int, ...]:
    return tuple(getattr(amount, measure) for measure in MEASURES)


def _lock_of(account: Account) -> int:
    digest = hashlib.sha256("\0".join(("ledger", *_key(account))).encode()).digest()
    return int.from_bytes(digest[:8], signed=True)
