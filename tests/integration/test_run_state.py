"""Sessions and finished executions outlive their process and are never overwritten by mistake, wherever they are."""

import asyncio
import multiprocessing
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator_resources.finished_executions import FinishedExecutions
from orchestrator_resources.instance_state import STATE_URL, state_url
from orchestrator_resources.postgres_state import PostgresState
from orchestrator_resources.run_state import open_run_state
from orchestrator_resources.sealed_texts import SealedTexts
from orchestrator_resources.sessions import Sessions
from orchestrator_resources.state_databases import StateDatabase
from orchestrator_runtimes.errors import AgentError, ErrorCode
from orchestrator_runtimes.messages import FinishReason, Result, State, Usage
from tests.integration.key_files import key_file, tenant_key, write_keys
from tests.integration.postgres_servers import PostgresServer, postgres_server
from tests.integration.state_places import opened, rows_of

RESULT = Result(
    output={"licence": "MIT", "n": [1, 2.5, None], "odd": "\x00 \ud800"},
    finish_reason=FinishReason.COMPLETED,
    usage=Usage(input_tokens=3),
    seconds=1.5,
)


@pytest.fixture
def database(stored: str) -> Iterator[StateDatabase]:
    with opened(stored) as found:
        yield found


def test_a_new_session_is_empty_and_what_is_put_comes_back(database: StateDatabase) -> None:
    sessions = Sessions(database)

    async def scenario() -> None:
        assert await sessions.get("s") == State()
        await sessions.put("s", "one", 0)
        assert await sessions.get("s") == State(text="one", version=1)
        await sessions.put("s", "zwei ✓", 1)
        assert await sessions.get("s") == State(text="zwei ✓", version=2)
        assert await sessions.get("other") == State()

    asyncio.run(scenario())


@pytest.mark.parametrize("version", [0, 2, 7])
def test_a_stale_version_is_refused_and_changes_nothing(database: StateDatabase, version: int) -> None:
    sessions = Sessions(database)

    async def scenario() -> None:
        await sessions.put("s", "one", 0)
        with pytest.raises(AgentError) as caught:
            await sessions.put("s", "lost", version)
        assert caught.value.code is ErrorCode.STATE_UNAVAILABLE
        assert await sessions.get("s") == State(text="one", version=1)

    asyncio.run(scenario())


def test_of_many_writers_of_one_version_exactly_one_wins(database: StateDatabase) -> None:
    sessions = Sessions(database)

    async def scenario() -> int:
        outcomes = await asyncio.gather(
            *(sessions.put("s", str(n), 0) for n in range(20)), return_exceptions=True
        )
        return sum(outcome is None for outcome in outcomes)

    assert asyncio.run(scenario()) == 1


def test_finished_executions_come_back_whole_until_they_are_forgotten(
    stored: str, database: StateDatabase
) -> None:
    finished = FinishedExecutions(database)
    names = [f"e{n}" for n in range(1_200)]
    finished.put({"e7": RESULT})
    finished.put({"e1100": RESULT})
    with opened(stored) as other:
        assert FinishedExecutions(other).get(names) == {"e7": RESULT, "e1100": RESULT}
    finished.forget(["e7", "never"])
    assert finished.get(names) == {"e1100": RESULT}
    finished.put({})
    finished.forget([])


def test_results_that_nobody_came_for_are_purged_by_their_age(database: StateDatabase) -> None:
    finished = FinishedExecutions(database)
    finished.put({"old": RESULT})
    between = time.time()
    finished.put({"new": RESULT})
    assert finished.purge(between - 60) == 0
    assert finished.purge(between) == 1 and set(finished.get(["old", "new"])) == {"new"}


def _put(place: str, name: str) -> None:
    with opened(place) as database:
        finished = FinishedExecutions(database)
        for n in range(20):
            finished.put({f"{name}-{n}": RESULT})


def test_processes_share_finished_executions_and_make_the_tables_at_once(stored: str) -> None:
    _run(_put, stored)
    with opened(stored) as database:
        found = FinishedExecutions(database).get([f"{p}-{n}" for p in "abc" for n in range(20)])
    assert len(found) == 60


def _grow(place: str, name: str) -> None:
    """Add a letter to a session thirty times, again whenever another process was first."""

    async def grow(sessions: Sessions) -> None:
        for _ in range(30):
            while True:
                state = await sessions.get("shared")
                try:
                    await sessions.put("shared", (state.text or "") + name, state.version)
                except AgentError as error:
                    if error.code is not ErrorCode.STATE_UNAVAILABLE:
                        raise
                    continue
                break

    with opened(place) as database:
        asyncio.run(grow(Sessions(database)))


def test_processes_that_share_a_session_lose_nothing_of_each_other(stored: str) -> None:
    _run(_grow, stored)
    with opened(stored) as database:
        state = asyncio.run(Sessions(database).get("shared"))
    assert state.version == 90
    assert {name: (state.text or "").count(name) for name in "abc"} == {"a": 30, "b": 30, "c": 30}


def _run(work: Callable[[str, str], None], place: str) -> None:
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=work, args=(place, name)) for name in "abc"]
    for process in processes:
        process.start()
    for process in processes:
        process.join(100)
    assert [process.exitcode for process in processes] == [0, 0, 0]


def test_a_server_that_was_killed_is_an_error_that_may_be_retried_and_nothing_is_lost() -> None:
    with postgres_server() as server, opened(server.database()) as database:
        finished = FinishedExecutions(database)
        finished.put({"e": RESULT})
        server.kill()
        with pytest.raises(AgentError, match="cannot be kept in PostgreSQL") as caught:
            finished.get(["e"])
        assert caught.value.code.retryable
        server.start()
        assert finished.get(["e"]) == {"e": RESULT}


def test_the_state_of_an_instance_may_share_a_database_with_its_journal(
    tmp_path: Path, postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = postgres.database()
    (tmp_path / "url").write_text(f"{url}\n")
    assert state_url() is None
    monkeypatch.setenv(f"{STATE_URL}_FILE", str(tmp_path / "url"))
    with open_run_state(tmp_path / "none", state_url()) as state:
        state.finished.put({"e": RESULT})
        assert state.approvals.list() == [] and state.waiting_assets.list() == []
        assert asyncio.run(state.sessions.get("s")) == State()
    assert not (tmp_path / "none").exists()


def test_what_is_no_database_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(STATE_URL, "mysql://user:secret@host/database")
    with pytest.raises(AgentError, match=f"{STATE_URL} must be the URL of a PostgreSQL") as caught:
        state_url()
    assert "secret" not in str(caught.value)
    with (
        opened("postgresql://user:secret@localhost:1/database") as nobody,
        pytest.raises(AgentError) as caught,
    ):
        nobody.prepare("approvals", ())
    assert caught.value.code is ErrorCode.STATE_UNAVAILABLE and "secret" not in str(caught.value)
    assert isinstance(nobody, PostgresState)


def test_with_a_key_results_and_sessions_are_sealed_and_come_back(
    stored: str, database: StateDatabase, tmp_path: Path
) -> None:
    texts = SealedTexts(key_file(tmp_path / "keys.json", "acme"))
    finished, sessions = FinishedExecutions(database, texts), Sessions(database, texts)
    finished.put({"e1": RESULT, "e2": RESULT})
    asyncio.run(sessions.put("s", "planted state", 0))
    assert finished.get(["e1", "e2"]) == {"e1": RESULT, "e2": RESULT}
    assert asyncio.run(sessions.get("s")) == State(text="planted state", version=1)
    asyncio.run(sessions.put("s", "planted more", 1))
    with database.transaction("all") as reading:
        kept = reading.execute("SELECT result FROM finished").fetchall()
        kept += reading.execute("SELECT state FROM sessions").fetchall()
    assert len(kept) == 3 and all(text.startswith("sealed:") for (text,) in kept)
    assert "planted state" not in rows_of(stored) and "licence" not in rows_of(stored)
    with database.transaction("all") as moved:
        moved.execute("UPDATE finished SET result = (SELECT result FROM finished WHERE execution = 'e2')")
    with pytest.raises(AgentError, match="what a run left does not open") as refused:
        finished.get(["e1"])
    assert refused.value.code is ErrorCode.STATE_UNAVAILABLE
    assert set(finished.get(["e2"])) == {"e2"}


def test_what_was_left_before_there_was_a_key_is_found_and_without_it_nothing_opens(
    database: StateDatabase, tmp_path: Path
) -> None:
    FinishedExecutions(database).put({"plain": RESULT})
    file = key_file(tmp_path / "keys.json", "acme")
    texts = SealedTexts(file)
    finished = FinishedExecutions(database, texts)
    assert finished.get(["plain"]) == {"plain": RESULT}
    finished.put({"sealed": RESULT})
    with pytest.raises(AgentError, match="does not open") as refused:
        FinishedExecutions(database).get(["sealed"])
    assert "ORCHESTRATOR_TENANT_KEYS_FILE names no keys" in str(refused.value.cause)
    write_keys(file, tenant_key("acme"))
    with pytest.raises(AgentError, match="does not open"):
        finished.get(["sealed"])


def test_executions_are_named_by_the_key_and_a_rotation_changes_no_name(tmp_path: Path) -> None:
    key = tenant_key("acme", 2)
    file = write_keys(tmp_path / "keys.json", replace(key, versions={1: key.versions[1]}))
    before, plain = SealedTexts(file), SealedTexts(None)
    name = before.scope("run/asset")
    write_keys(file, key)
    assert SealedTexts(file).scope("run/asset") == before.scope("run/asset") == name != "run/asset"
    assert plain.scope("run/asset") == "run/asset" and "run" not in name


def test_a_run_gets_the_keys_of_one_tenant(tmp_path: Path) -> None:
    with pytest.raises(
        AgentError, match=r"ORCHESTRATOR_TENANT_KEYS_FILE: .* must hold the keys of one tenant"
    ):
        SealedTexts(key_file(tmp_path / "keys.json", "acme", "globex"))
    with pytest.raises(AgentError, match="cannot be read"):
        SealedTexts(tmp_path / "none.json")


def test_who_has_a_key_and_not_what_seals_is_told_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def find(_name: str) -> None:
        return None

    monkeypatch.setattr("orchestrator_resources.sealed_texts.find_spec", find)
    with pytest.raises(AgentError, match=r"install agent-orchestrator\[keys\]"):
        SealedTexts(key_file(tmp_path / "keys.json", "acme"))
