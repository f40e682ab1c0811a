"""The journal in an SQLite file, which gateways of one machine may share."""

import time
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from orchestrator_gateway.journal import Answer, Answered, Scope
from orchestrator_gateway.sqlite_database import SqliteDatabase
from orchestrator_runtimes.messages import Usage

_LEVEL: Final = 1
_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS calls (
    number INTEGER PRIMARY KEY,
    tenant TEXT NOT NULL, execution TEXT NOT NULL, agent TEXT NOT NULL, attempt TEXT NOT NULL,
    exact TEXT NOT NULL, loose TEXT NOT NULL, words TEXT NOT NULL,
    content_type TEXT NOT NULL, body BLOB NOT NULL,
    input_tokens INTEGER, output_tokens INTEGER, cached_tokens INTEGER, recorded REAL NOT NULL
);
CREATE INDEX IF NOT EXISTS calls_of_execution ON calls (tenant, execution, agent);
CREATE INDEX IF NOT EXISTS calls_by_age ON calls (recorded);
"""
_ALL: Final = "tenant = ? AND execution = ? AND agent = ?"


class SqliteJournal:
    """See `journal.Journal`."""

    def __init__(self, file: Path) -> None:
        """Open a database, made when missing.

        Raises:
            JournalUnavailable: It cannot be opened.
        """
        self._database = SqliteDatabase(file, _SCHEMA)

    async def answered(self, scope: Scope) -> Sequence[Answered]:
        """Return the calls of a scope that were answered, in order."""
        rows = await self._database.do(
            lambda database: database.execute(
                f"SELECT number, attempt, exact, loose, words FROM calls WHERE {_ALL} ORDER BY number",
                _key(scope),
            ).fetchall()
        )
        return [
            Answered(number=number, attempt=attempt, exact=exact, loose=loose, words=frozenset(words.split()))
            for number, attempt, exact, loose, words in rows
        ]

    async def answer(self, scope: Scope, number: int) -> Answer:
        """Return an answer."""
        row = await self._database.do(
            lambda database: database.execute(
                "SELECT content_type, body, input_tokens, output_tokens, cached_tokens FROM calls"
                f" WHERE {_ALL} AND number = ?",
                (*_key(scope), number),
            ).fetchone()
        )
        if row is None:
            raise KeyError(number)
        content_type, body, input_tokens, output_tokens, cached_tokens = row
        usage = None
        if input_tokens is not None:
            usage = Usage(input_tokens=input_tokens, output_tokens=output_tokens, cached_tokens=cached_tokens)
        return Answer(content_type=content_type, body=zlib.decompress(body), usage=usage)

    async def record(self, scope: Scope, call: Answered, answer: Answer) -> Answered:
        """Remember an answer; durable when this returns."""
        usage = answer.usage
        tokens = (usage.input_tokens, usage.output_tokens, usage.cached_tokens) if usage else (None,) * 3
        values = (
            *_key(scope),
            call.attempt,
            call.exact,
            call.loose,
            " ".join(sorted(call.words)),
            answer.content_type,
            zlib.compress(answer.body, _LEVEL),
            *tokens,
            time.time(),
        )
        number = await self._database.do(
            lambda database: (
                database.execute(
                    "INSERT INTO calls (tenant, execution, agent, attempt, exact, loose, words, content_type, body,"
                    " input_tokens, output_tokens, cached_tokens, recorded) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?)",
                    values,
                ).lastrowid
            )
        )
        return Answered(
            number=int(number or 0),
            attempt=call.attempt,
            exact=call.exact,
            loose=call.loose,
            words=call.words,
        )

    async def forget(self, tenant: str, executions: Sequence[str]) -> None:
        """Drop the calls of executions whose results are stored elsewhere."""
        rows = [(tenant, execution) for execution in executions]
        await self._database.do(
            lambda database: database.executemany(
                "DELETE FROM calls WHERE tenant = ? AND execution = ?", rows
            )
        )

    async def purge(self, tenant: str | None, older_than: float) -> int:
        """Drop calls that were recorded before a Unix time; of every tenant where it is None."""
        return int(
            await self._database.do(
                lambda database: (
                    database.execute(
                        "DELETE FROM calls WHERE recorded < ? AND (? IS NULL OR tenant = ?)",
                        (older_than, tenant, tenant),
                    ).rowcount
                )
            )
        )

    async def close(self) -> None:
        """Do what was asked for, and release the database."""
        await self._database.close()


def _key(scope: Scope) -> tuple[str, str, str]:
    return scope.tenant, scope.execution, scope.agent
