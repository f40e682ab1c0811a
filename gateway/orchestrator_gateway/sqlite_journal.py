"""The journal in an SQLite file, which gateways of one machine may share."""

import sqlite3
import time
from collections.abc import Collection, Sequence
from typing import Final

from orchestrator_gateway.claims import Row, decide
from orchestrator_gateway.journal import Answer, Asked, Claimed, JournalLimits, Scope, Superseded, Words
from orchestrator_gateway.payloads import packed, packed_text, unpacked, unpacked_text
from orchestrator_gateway.process_names import is_gone, own_name
from orchestrator_gateway.sqlite_database import SqliteDatabase
from orchestrator_runtimes.messages import Step, StepLookup, StepRecord, Usage

_PURGED_AT_ONCE: Final = 500
_SCOPE: Final = "tenant = ? AND execution = ? AND agent = ?"
_EQUAL: Final = f"""
SELECT calls.number, calls.request, calls.attempt, exact, loose, lease, holder, given.request FROM calls
LEFT JOIN given ON given.number = calls.number AND given.attempt = ? WHERE {_SCOPE}
AND (exact IN (?, ?) OR loose IN (?, ?) OR calls.request = ? OR given.request = ?) ORDER BY calls.number
"""


class SqliteJournal:
    """See `journal.Journal`.

    What `claim` writes outlives its gateway, not a power cut, which the try that it is about does not outlive either.
    """

    def __init__(self, database: SqliteDatabase, limits: JournalLimits | None = None) -> None:
        """Use a database, which is closed with this journal; see `sqlite_store.open_sqlite`."""
        self._limits = limits or JournalLimits()
        self._database = database
        self._holder = own_name()

    async def words(self, scope: Scope) -> Words:
        """Return what the answers of a scope were about."""
        found = await self._database.do(
            lambda database: database.execute(
                f"SELECT words FROM calls WHERE {_SCOPE} AND words <> ''", _key(scope)
            ).fetchall(),
            durable=False,
        )
        return Words(
            answers=len(found), digests=frozenset(word for (words,) in found for word in words.split())
        )

    async def claim(self, scope: Scope, asked: Asked) -> Claimed:
        """Decide what a call is to get."""
        return await self._database.do(lambda database: self._claim(database, scope, asked), durable=False)

    def _claim(self, database: sqlite3.Connection, scope: Scope, asked: Asked) -> Claimed:
        now = time.time()
        (answers,) = database.execute(
            f"SELECT count(*) FROM calls WHERE {_SCOPE} AND words <> ''", _key(scope)
        ).fetchone()
        decision = decide(_rows(database, scope, asked, now), asked, answers)
        database.executemany("DELETE FROM calls WHERE number = ?", [(number,) for number in decision.lapsed])
        claimed = decision.claimed
        if decision.given:
            database.execute(
                "INSERT INTO given VALUES (?, ?, ?)", (claimed.number, asked.attempt, asked.request)
            )
        if claimed.state != "new" or claimed.number is not None:
            return claimed
        values = (asked.attempt, asked.request, asked.exact, asked.loose, self._holder)
        begun = database.execute(
            "INSERT INTO calls (tenant, execution, agent, attempt, request, exact, loose, holder, lease, recorded)"
            " VALUES (?,?,?,?,?,?,?,?,?,?)",
            (*_key(scope), *values, now + self._limits.lease_seconds, now),
        )
        return Claimed(state="new", number=begun.lastrowid)

    async def renew(self, numbers: Collection[int]) -> None:
        """Give a sign of life for calls that are on their way."""
        until = time.time() + self._limits.lease_seconds
        rows = [(until, number) for number in numbers]
        await self._database.do(
            lambda database: database.executemany(
                "UPDATE calls SET lease = ? WHERE number = ? AND lease IS NOT NULL", rows
            ),
            durable=False,
        )

    async def answer(self, scope: Scope, number: int) -> Answer:
        """Return an answer."""
        row = await self._database.do(
            lambda database: database.execute(
                "SELECT content_type, body, input_tokens, output_tokens, cached_tokens FROM calls"
                f" WHERE {_SCOPE} AND number = ? AND lease IS NULL",
                (*_key(scope), number),
            ).fetchone(),
            durable=False,
        )
        if row is None:
            raise KeyError(number)
        content_type, body, input_tokens, output_tokens, cached_tokens = row
        usage = None
        if input_tokens is not None:
            usage = Usage(input_tokens=input_tokens, output_tokens=output_tokens, cached_tokens=cached_tokens)
        return Answer(content_type=content_type, body=await unpacked(body), usage=usage)

    async def record(
        self, scope: Scope, number: int, request: str, answer: Answer, words: frozenset[str]
    ) -> None:
        """Remember the answer to a call; durable when this returns."""
        usage = answer.usage
        tokens = (usage.input_tokens, usage.output_tokens, usage.cached_tokens) if usage else (None,) * 3
        values = (
            time.time(),
            " ".join(sorted(words)),
            *tokens,
            answer.content_type,
            await packed(answer.body),
        )
        changed = await self._database.do(
            lambda database: (
                database.execute(
                    "UPDATE calls SET lease = NULL, recorded = ?, words = ?, input_tokens = ?, output_tokens = ?,"
                    f" cached_tokens = ?, content_type = ?, body = ? WHERE {_SCOPE} AND number = ? AND request = ?",
                    (*values, *_key(scope), number, request),
                ).rowcount
            )
        )
        if not changed:
            raise Superseded("the call belongs to another gateway by now")

    async def release(self, scope: Scope, number: int, request: str) -> None:
        """Drop a call that came to nothing."""
        await self._database.do(
            lambda database: database.execute(
                f"DELETE FROM calls WHERE {_SCOPE} AND number = ? AND request = ? AND lease IS NOT NULL",
                (*_key(scope), number, request),
            ),
            durable=False,
        )

    async def lookup(self, tenant: str, step: StepLookup) -> Step:
        """Say what is known of a tool call, and mark one that may run only once as started."""
        key = (tenant, step.execution, step.step, step.occurrence)

        def work(database: sqlite3.Connection) -> tuple[bytes | None] | None:
            row: tuple[bytes | None] | None = database.execute(
                "SELECT result FROM steps WHERE tenant = ? AND execution = ? AND step = ? AND occurrence = ?",
                key,
            ).fetchone()
            if row is None and step.once:
                database.execute("INSERT INTO steps VALUES (?, ?, ?, ?, ?, NULL)", (*key, time.time()))
            return row

        found = await self._database.do(work, durable=step.once)
        if found is None:
            return Step(state="new")
        if found[0] is None:
            return Step(state="started")
        return Step(state="finished", result=await unpacked_text(found[0]))

    async def record_step(self, tenant: str, step: StepRecord) -> None:
        """Remember a tool call's result; durable when this returns."""
        row = (
            tenant,
            step.execution,
            step.step,
            step.occurrence,
            time.time(),
            await packed_text(step.result),
        )
        await self._database.do(
            lambda database: database.execute("INSERT OR REPLACE INTO steps VALUES (?, ?, ?, ?, ?, ?)", row)
        )

    async def forget(self, tenant: str, executions: Sequence[str]) -> None:
        """Drop the calls and steps of executions whose results are stored elsewhere."""
        rows = [(tenant, execution) for execution in executions]

        def work(database: sqlite3.Connection) -> None:
            for table in ("calls", "steps"):
                database.executemany(f"DELETE FROM {table} WHERE tenant = ? AND execution = ?", rows)

        await self._database.do(work, durable=False)

    async def purge(self, tenant: str | None, older_than: float) -> int:
        """Drop executions of which nothing was recorded since a Unix time; of every tenant where it is None."""
        since = {"older": older_than, "tenant": tenant, "most": _PURGED_AT_ONCE}

        def work(database: sqlite3.Connection) -> int:
            return sum(
                database.execute(
                    f"DELETE FROM {table} WHERE rowid IN (SELECT rowid FROM {table} AS old WHERE recorded < :older"
                    " AND (:tenant IS NULL OR tenant = :tenant) AND NOT EXISTS (SELECT 1"
                    f" FROM {table} AS later WHERE later.tenant = old.tenant"
                    " AND later.execution = old.execution AND later.recorded >= :older) LIMIT :most)",
                    since,
                ).rowcount
                for table in ("calls", "steps")
            )

        dropped = 0
        while (
            some := await self._database.do(work, durable=False)
        ) > 0:  # in parts: calls must not wait for long
            dropped += some
        return dropped

    async def close(self) -> None:
        """Do what was asked for, and release the database."""
        await self._database.close()


def _rows(database: sqlite3.Connection, scope: Scope, asked: Asked, now: float) -> list[Row]:
    found = database.execute(
        _EQUAL,
        (asked.attempt, *_key(scope), *asked.exacts, *asked.looses, asked.request, asked.request),
    )
    return [
        Row(
            number=number,
            request=request,
            attempt=attempt,
            exact=exact,
            loose=loose,
            answered=lease is None,
            lapsed=lease is not None and (lease < now or is_gone(holder)),
            had={asked.attempt: given} if given is not None else {},
        )
        for number, request, attempt, exact, loose, lease, holder, given in found
    ]


def _key(scope: Scope) -> tuple[str, str, str]:
    return scope.tenant, scope.execution, scope.agent
