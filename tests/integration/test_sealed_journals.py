"""Journals with the keys of tenants: what is beside the contract of `test_journals.py`."""

import asyncio
import contextlib
import secrets
import sqlite3
from collections.abc import AsyncGenerator
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest

from orchestrator_gateway.journal import Answer, Asked, Claimed, Journal, JournalUnavailable, Scope
from orchestrator_gateway.stores import is_postgres, open_journal
from orchestrator_gateway.tenant_keys import KeyFile
from orchestrator_runtimes.messages import Step, StepLookup, StepRecord
from tests.integration.key_files import key_file, tenant_key, write_keys
from tests.integration.state_places import rows_of

SCOPE = Scope(tenant="acme", execution="e", agent="a")
ANSWER = Answer(content_type="text/plain; charset=ü", body=b"planted answer")
RECORD = StepRecord(execution="e", step="s", occurrence=0, result="planted result")
LOOKUP = StepLookup(execution="e", step="s", occurrence=0, once=True)


@contextlib.asynccontextmanager
async def opened(stored: str, keys: Path | None) -> AsyncGenerator[Journal]:
    journal = await open_journal(stored, keys=None if keys is None else KeyFile(keys, spread_seconds=0))
    try:
        yield journal
    finally:
        await journal.close()


async def answered(
    journal: Journal, scope: Scope = SCOPE, exact: str = "planted-exact", answers: int = 0
) -> int:
    asked = Asked(
        request=f"r{len(exact)}", attempt="first", exact=exact, loose="planted-loose", answers=answers
    )
    claimed = await journal.claim(scope, asked)
    assert claimed.number is not None
    await journal.record(scope, claimed.number, asked.request, ANSWER, frozenset({"planted-word"}))
    return claimed.number


def change(stored: str, statement: str) -> None:
    """Change a database as somebody does who can write it."""
    if is_postgres(stored):
        with psycopg.connect(stored, options="-c search_path=orchestrator_gateway") as connection:
            connection.execute(statement.encode())
        return
    with contextlib.closing(sqlite3.connect(stored)) as database, database:
        database.execute(statement)


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    return key_file(tmp_path / "keys.json", "acme", "globex")


def test_nothing_that_was_said_stands_in_the_database(stored: str, keys: Path) -> None:
    async def work() -> None:
        async with opened(stored, keys) as journal:
            await answered(journal)
            await journal.record_step("acme", RECORD)
            assert (await journal.words(SCOPE)).digests == {"planted-word"}

    asyncio.run(work())
    told = rows_of(stored)
    assert "acme" in told and "planted" not in told


def test_a_tenant_without_a_key_is_refused_by_name_and_nothing_is_kept(stored: str, keys: Path) -> None:
    other = replace(SCOPE, tenant="initech")

    async def work() -> None:
        async with opened(stored, keys) as journal:
            for asked in (
                answered(journal, other),
                journal.record(other, 1, "r", ANSWER, frozenset()),
                journal.lookup("initech", LOOKUP),
                journal.record_step("initech", RECORD),
            ):
                with pytest.raises(JournalUnavailable, match="the tenant 'initech' has no key"):
                    await asked

    asyncio.run(work())
    assert "initech" not in rows_of(stored)


def test_rows_that_were_swapped_do_not_open(stored: str, keys: Path) -> None:
    async def work() -> None:
        async with opened(stored, keys) as journal:
            first, second = await answered(journal), await answered(journal, exact="other", answers=1)
            change(
                stored,
                f"UPDATE calls SET body = (SELECT body FROM calls WHERE number = {first}) WHERE number = {second}",
            )
            assert (await journal.answer(SCOPE, first)).body == ANSWER.body
            with pytest.raises(
                JournalUnavailable, match="does not open: it was changed, moved, or sealed by"
            ):
                await journal.answer(SCOPE, second)
            await journal.record_step("acme", RECORD)
            change(stored, "UPDATE steps SET execution = 'f'")
            with pytest.raises(JournalUnavailable, match="does not open"):
                await journal.lookup("acme", replace(LOOKUP, execution="f"))
            change(stored, "UPDATE calls SET execution = 'f'")
            with pytest.raises(JournalUnavailable, match="does not open"):
                await journal.words(replace(SCOPE, execution="f"))

    asyncio.run(work())


def test_after_a_rotation_old_answers_are_found_and_without_the_key_nothing_opens(
    stored: str, tmp_path: Path
) -> None:
    key, retried = (
        tenant_key("acme", 2),
        Asked(request="x", attempt="second", exact="planted-exact", loose="planted-loose", answers=1),
    )
    first = replace(key, versions={1: key.versions[1]})
    file = write_keys(tmp_path / "keys.json", first)

    async def work() -> None:
        async with opened(stored, file) as journal:
            number = await answered(journal)
            write_keys(file, key)
            claimed = await journal.claim(SCOPE, retried)
            assert (claimed.state, claimed.number) == ("answered", number)
            assert (await journal.answer(SCOPE, number)).body == ANSWER.body
            second = await answered(journal, replace(SCOPE, execution="f"))
            write_keys(file, first)
            with pytest.raises(JournalUnavailable, match="version 2 of the key of 'acme' is not there"):
                await journal.answer(replace(SCOPE, execution="f"), second)
            write_keys(file, tenant_key("acme", 2))
            with pytest.raises(JournalUnavailable, match="does not open"):
                await journal.answer(SCOPE, number)

    asyncio.run(work())


@pytest.mark.parametrize("finished", [True, False])
def test_what_was_kept_before_there_were_keys_is_found_and_no_call_is_made_again(
    stored: str, keys: Path, *, finished: bool
) -> None:
    async def work() -> None:
        async with opened(stored, None) as journal:
            number = await answered(journal)
            assert (await journal.lookup("acme", LOOKUP)).state == "new"
            if finished:
                await journal.record_step("acme", RECORD)
        async with opened(stored, keys) as journal:
            for exact, loose in (("planted-exact", "x"), ("x", "planted-loose")):
                asked = Asked(request=exact, attempt=exact, exact=exact, loose=loose, answers=1)
                assert await journal.claim(SCOPE, asked) == Claimed(state="answered", number=number)
            assert (await journal.answer(SCOPE, number)).body == ANSWER.body
            assert (await journal.words(SCOPE)).digests == {"planted-word"}
            before = Step(state="finished", result=RECORD.result) if finished else Step(state="started")
            assert [await journal.lookup("acme", LOOKUP) for _ in range(2)] == [before] * 2
            await journal.record_step("acme", replace(RECORD, result="late"))
            assert (await journal.lookup("acme", LOOKUP)).result == "late"

    asyncio.run(work())


def test_long_bodies_come_back(stored: str, keys: Path) -> None:
    body = bytes(range(256)) * 4 * 2**10

    async def work() -> None:
        async with opened(stored, keys) as journal:
            asked = Asked(request="r", attempt="first", exact="x", loose="x")
            claimed = await journal.claim(SCOPE, asked)
            assert claimed.number is not None
            noise = Answer(content_type="x", body=body + secrets.token_bytes(2**20))
            await journal.record(SCOPE, claimed.number, "r", noise, frozenset())
            assert await journal.answer(SCOPE, claimed.number) == noise

    asyncio.run(work())
