"""What a disk does to run state in files, and sessions in memory."""

import asyncio
import contextlib
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from orchestrator_resources.finished_executions import FinishedExecutions
from orchestrator_resources.sessions import Sessions
from orchestrator_resources.sqlite_state import SqliteState
from orchestrator_runtimes.conformance.stores import MemorySessions
from orchestrator_runtimes.errors import AgentError, ErrorCode
from orchestrator_runtimes.messages import FinishReason, Result, State, Usage

RESULT = Result(
    output={"licence": "MIT"}, finish_reason=FinishReason.COMPLETED, usage=Usage(input_tokens=3), seconds=1.5
)


def finished_in(file: Path) -> FinishedExecutions:
    return FinishedExecutions(SqliteState(file))


@pytest.mark.parametrize("version", [0, 2])
def test_sessions_in_memory_do_as_those_in_a_database(version: int) -> None:
    sessions = MemorySessions()

    async def scenario() -> None:
        assert await sessions.get("s") == State()
        await sessions.put("s", "one", 0)
        with pytest.raises(AgentError) as caught:
            await sessions.put("s", "lost", version)
        assert caught.value.code is ErrorCode.STATE_UNAVAILABLE
        assert await sessions.get("s") == State(text="one", version=1)

    asyncio.run(scenario())


def test_a_full_disk_is_an_error_that_may_be_retried(tmp_path: Path) -> None:
    file = tmp_path / "sessions.db"
    sessions = Sessions(SqliteState(file))
    file.unlink()
    file.mkdir()
    with pytest.raises(AgentError) as caught:
        asyncio.run(sessions.put("s", "x", 0))
    assert caught.value.code.retryable


WORK: dict[str, Callable[[FinishedExecutions, Path], object]] = {
    "open": lambda _, file: finished_in(file),
    "get": lambda finished, _: finished.get(["e"]),
    "put": lambda finished, _: finished.put({"e": RESULT}),
    "forget": lambda finished, _: finished.forget(["e"]),
}


@pytest.mark.parametrize("work", WORK)
def test_finished_executions_that_cannot_be_kept_are_an_error_that_may_be_retried(
    work: str, tmp_path: Path
) -> None:
    file = tmp_path / "finished.db"
    finished = finished_in(file)
    finished.put({"e": RESULT})
    for one in tmp_path.glob("finished.db*"):
        one.unlink()
    file.symlink_to("/dev/full")
    with pytest.raises(AgentError, match="make room on its disk") as caught:
        WORK[work](finished, file)
    assert caught.value.code.retryable


def test_results_of_an_older_version_are_kept_from_now_on(tmp_path: Path) -> None:
    file = tmp_path / "finished.db"
    finished_in(file).put({"kept": RESULT})
    with contextlib.closing(sqlite3.connect(file)) as database, database:
        database.execute("ALTER TABLE finished DROP COLUMN recorded")
    assert finished_in(file).get(["kept"]) == {"kept": RESULT}
    assert finished_in(file).purge(time.time() - 60) == 0
    assert finished_in(file).purge(time.time() + 60) == 1
