"""Sessions and finished executions outlive their process and are never overwritten by mistake."""

import asyncio
import contextlib
import multiprocessing
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from orchestrator_resources.finished_executions import FinishedExecutions
from orchestrator_resources.sessions import SqliteSessions
from orchestrator_runtimes.conformance.stores import MemorySessions
from orchestrator_runtimes.errors import AgentError, ErrorCode
from orchestrator_runtimes.messages import FinishReason, Result, State, Usage

RESULT = Result(
    output={"licence": "MIT", "n": [1, 2.5, None]},
    finish_reason=FinishReason.COMPLETED,
    usage=Usage(input_tokens=3),
    seconds=1.5,
)


@pytest.fixture(params=["memory", "sqlite"])
def sessions(request: pytest.FixtureRequest, tmp_path: Path) -> MemorySessions | SqliteSessions:
    return (
        MemorySessions() if request.param == "memory" else SqliteSessions(tmp_path / "deep" / "sessions.db")
    )


def test_a_new_session_is_empty_and_what_is_put_comes_back(sessions: MemorySessions | SqliteSessions) -> None:
    async def scenario() -> None:
        assert await sessions.get("s") == State()
        await sessions.put("s", "one", 0)
        assert await sessions.get("s") == State(text="one", version=1)
        await sessions.put("s", "zwei ✓", 1)
        assert await sessions.get("s") == State(text="zwei ✓", version=2)
        assert await sessions.get("other") == State()

    asyncio.run(scenario())


@pytest.mark.parametrize("version", [0, 2, 7])
def test_a_stale_version_is_refused_and_changes_nothing(
    sessions: MemorySessions | SqliteSessions, version: int
) -> None:
    async def scenario() -> None:
        await sessions.put("s", "one", 0)
        with pytest.raises(AgentError) as caught:
            await sessions.put("s", "lost", version)
        assert caught.value.code is ErrorCode.STATE_UNAVAILABLE
        assert await sessions.get("s") == State(text="one", version=1)

    asyncio.run(scenario())


def test_of_many_writers_of_one_version_exactly_one_wins(tmp_path: Path) -> None:
    sessions = SqliteSessions(tmp_path / "sessions.db")

    async def scenario() -> int:
        outcomes = await asyncio.gather(
            *(sessions.put("s", str(n), 0) for n in range(20)), return_exceptions=True
        )
        return sum(outcome is None for outcome in outcomes)

    assert asyncio.run(scenario()) == 1


def test_a_full_disk_is_an_error_that_may_be_retried(tmp_path: Path) -> None:
    file = tmp_path / "sessions.db"
    sessions = SqliteSessions(file)
    file.unlink()
    file.mkdir()
    with pytest.raises(AgentError) as caught:
        asyncio.run(sessions.put("s", "x", 0))
    assert caught.value.code.retryable


def test_finished_executions_come_back_whole_until_they_are_forgotten(tmp_path: Path) -> None:
    finished = FinishedExecutions(tmp_path / "finished.db")
    names = [f"e{n}" for n in range(1_200)]
    finished.put({"e7": RESULT})
    finished.put({"e1100": RESULT})
    assert FinishedExecutions(tmp_path / "finished.db").get(names) == {"e7": RESULT, "e1100": RESULT}
    finished.forget(["e7", "never"])
    assert finished.get(names) == {"e1100": RESULT}


def _put(file: Path, name: str) -> None:
    finished = FinishedExecutions(file)
    for n in range(20):
        finished.put({f"{name}-{n}": RESULT})


def test_processes_share_the_file_of_finished_executions(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_put, args=(tmp_path / "f.db", f"p{n}")) for n in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    found = FinishedExecutions(tmp_path / "f.db").get([f"p{p}-{n}" for p in range(3) for n in range(20)])
    assert len(found) == 60


def _grow(file: Path, name: str) -> None:
    """Add a letter to a session thirty times, again whenever another process was first."""

    async def grow() -> None:
        sessions = SqliteSessions(file)
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

    asyncio.run(grow())


def test_processes_that_share_a_session_lose_nothing_of_each_other(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_grow, args=(tmp_path / "s.db", name)) for name in "abc"]
    for process in processes:
        process.start()
    for process in processes:
        process.join(100)
    assert [process.exitcode for process in processes] == [0, 0, 0]
    state = asyncio.run(SqliteSessions(tmp_path / "s.db").get("shared"))
    assert state.version == 90
    assert {name: (state.text or "").count(name) for name in "abc"} == {"a": 30, "b": 30, "c": 30}


WORK: dict[str, Callable[[FinishedExecutions, Path], object]] = {
    "open": lambda _, file: FinishedExecutions(file),
    "get": lambda finished, _: finished.get(["e"]),
    "put": lambda finished, _: finished.put({"e": RESULT}),
    "forget": lambda finished, _: finished.forget(["e"]),
}


@pytest.mark.parametrize("work", WORK)
def test_finished_executions_that_cannot_be_kept_are_an_error_that_may_be_retried(
    work: str, tmp_path: Path
) -> None:
    file = tmp_path / "finished.db"
    finished = FinishedExecutions(file)
    finished.put({"e": RESULT})
    for one in tmp_path.glob("finished.db*"):
        one.unlink()
    file.symlink_to("/dev/full")
    with pytest.raises(AgentError, match="make room on its disk") as caught:
        WORK[work](finished, file)
    assert caught.value.code.retryable


def test_results_that_nobody_came_for_are_purged_by_their_age(tmp_path: Path) -> None:
    finished = FinishedExecutions(tmp_path / "finished.db")
    finished.put({"old": RESULT})
    between = time.time()
    finished.put({"new": RESULT})
    assert finished.purge(between - 60) == 0
    assert finished.purge(between) == 1 and set(finished.get(["old", "new"])) == {"new"}


def test_results_of_an_older_version_are_kept_from_now_on(tmp_path: Path) -> None:
    file = tmp_path / "finished.db"
    FinishedExecutions(file).put({"kept": RESULT})
    with contextlib.closing(sqlite3.connect(file)) as database, database:
        database.execute("ALTER TABLE finished DROP COLUMN recorded")
    assert FinishedExecutions(file).get(["kept"]) == {"kept": RESULT}
    assert FinishedExecutions(file).purge(time.time() - 60) == 0
    assert FinishedExecutions(file).purge(time.time() + 60) == 1
