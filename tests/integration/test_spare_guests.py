"""Spare guests: used once, by whoever comes first, exactly like a guest started for it; gone when nobody comes."""

import asyncio
import os
import signal
import sys
from dataclasses import replace
from pathlib import Path
from typing import Final

import dagster as dg
import pytest

from orchestrator_assets import agent_asset
from orchestrator_resources.agent_runtimes import AgentRuntimes
from orchestrator_runtimes import spares
from orchestrator_runtimes.conformance.fake import PROFILE
from orchestrator_runtimes.conformance.model_endpoint import ModelEndpoint
from orchestrator_runtimes.errors import AgentError, ErrorCode
from orchestrator_runtimes.guest_commands import GuestCommand
from orchestrator_runtimes.launch import GuestProcess
from tests.integration.agent_materializations import fake_agent, materialize
from tests.integration.processes import alive, entries, parent, wait_until

COMMAND: Final = GuestCommand.of(PROFILE, Path(sys.executable), grace_seconds=1, spare_seconds=60)


pytestmark = pytest.mark.usefixtures("place")


def left(place: Path, command: GuestCommand = COMMAND) -> int:
    """Leave a spare and return the process id of its guardian once it waits."""
    before = entries(place)
    assert spares.leave(command)
    wait_until(lambda: bool(entries(place) - before), "a spare waits")
    (socket,) = entries(place) - before
    return int(socket.name.rpartition("-")[2])


def test_a_spare_is_used_once_and_ends_with_its_user(place: Path) -> None:
    guardian = left(place)
    assert not spares.leave(COMMAND), "one of its kind waits already"

    async def scenario() -> None:
        first = await GuestProcess.start(COMMAND)
        second = await GuestProcess.start(COMMAND)
        assert parent(first.pid) == guardian and parent(second.pid) != guardian
        assert first.client.runtime == second.client.runtime
        folders = [guest.folder for guest in (first, second) if guest.folder is not None]
        assert len(folders) == 2
        assert first.running and all(folder.exists() for folder in folders)
        pids = [first.pid, second.pid]
        await asyncio.gather(first.stop(), second.stop())
        assert not any(folder.exists() for folder in folders) and not any(map(alive, pids))

    asyncio.run(scenario())
    wait_until(lambda: not alive(guardian), "its guardian ends")
    assert list(place.iterdir()) == []


def test_a_guest_started_in_another_way_does_not_get_it(place: Path) -> None:
    guardian = left(place)
    others = [
        replace(COMMAND, environment={"SWITCH": "on"}),
        replace(COMMAND, max_executions=1),
        replace(COMMAND, memory_mb=4_096),
        replace(COMMAND, spare_seconds=0),
    ]

    async def scenario() -> None:
        for other in others:
            guest = await GuestProcess.start(other)
            assert parent(guest.pid) != guardian
            await guest.stop()

    asyncio.run(scenario())
    os.kill(guardian, signal.SIGTERM)
    wait_until(
        lambda: not alive(guardian) and not list(place.iterdir()), "it is ended by a signal as any guest is"
    )


def test_nobody_comes(place: Path) -> None:
    guardian = left(place, replace(COMMAND, spare_seconds=0.5))
    wait_until(lambda: not alive(guardian), "it ends by itself")
    assert list(place.parent.iterdir()) == [place] and list(place.iterdir()) == []


def test_the_crash_of_a_claimed_guest_is_told_with_its_last_words(place: Path) -> None:
    left(place)

    async def scenario() -> AgentError:
        guest = await GuestProcess.start(COMMAND)
        os.kill(guest.pid, signal.SIGKILL)
        error = await guest.crash("crashed")
        assert not guest.running
        await guest.stop()
        return error

    error = asyncio.run(scenario())
    assert error.code is ErrorCode.RUNTIME_CRASHED and "SIGKILL" in str(error)

    left(place, replace(COMMAND, adapter="no_such_adapter:Adapter"))

    async def broken() -> None:
        await GuestProcess.start(replace(COMMAND, adapter="no_such_adapter:Adapter"))

    with pytest.raises(AgentError, match="no_such_adapter") as caught:
        asyncio.run(broken())
    assert caught.value.code is ErrorCode.RUNTIME_CRASHED


def test_a_spare_whose_guardian_was_killed_is_passed_over(place: Path) -> None:
    guardian = left(place)
    os.kill(guardian, signal.SIGKILL)
    wait_until(lambda: not alive(guardian), "it is killed")

    async def scenario() -> None:
        guest = await GuestProcess.start(COMMAND)
        assert parent(guest.pid) != guardian
        await guest.stop()

    asyncio.run(scenario())
    assert list(place.iterdir()) == []
    assert spares.leave(COMMAND), "the dead one does not count"
    wait_until(lambda: bool(list(place.iterdir())), "a new one waits")
    os.kill(int(next(place.iterdir()).name.rpartition("-")[2]), signal.SIGTERM)
    wait_until(lambda: not list(place.iterdir()), "and ends")


def test_a_user_that_is_killed_takes_a_claimed_guest_along(place: Path) -> None:
    guardian = left(place)
    spare = spares.claim(COMMAND)
    assert spare is not None and spare.guardian == guardian and list(place.iterdir()) == []
    assert spares.claim(COMMAND) is None
    spare.connection.close()  # as the system does for a process that is killed
    wait_until(lambda: not alive(guardian), "it ends")
    os.close(spare.errors)
    assert not spare.folder.exists()


def test_a_process_number_that_another_user_has_now_is_no_spare(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.mkdir(mode=0o700)
    (place / "0123456789abcdef-1").touch()

    def refuse(_pid: int, _signal: int) -> None:
        raise PermissionError

    with monkeypatch.context() as patch:
        patch.setattr("os.kill", refuse)
        guardian = left(place)
    assert [path.name.rpartition("-")[2] for path in place.iterdir()] == [str(guardian)]
    os.kill(guardian, signal.SIGTERM)
    wait_until(lambda: not alive(guardian), "it ends")


@pytest.mark.parametrize("kind", ["others may enter", "a file", "a link"])
def test_a_place_that_is_not_this_users_alone_is_not_used(place: Path, kind: str) -> None:
    if kind == "others may enter":
        place.mkdir(mode=0o755)
    elif kind == "a file":
        place.touch()
    else:
        (place.parent / "elsewhere").mkdir(mode=0o700)
        place.symlink_to(place.parent / "elsewhere")
    assert not spares.leave(COMMAND) and spares.claim(COMMAND) is None


def test_there_is_at_most_one_for_each_core(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 1)
    guardian = left(place)
    assert not spares.leave(replace(COMMAND, max_executions=7))
    os.kill(guardian, signal.SIGTERM)
    wait_until(lambda: not alive(guardian), "it ends")


@pytest.mark.usefixtures("fake_framework")
def test_a_run_leaves_a_spare_that_the_next_run_uses(
    place: Path, endpoint: ModelEndpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    asset = agent_asset(fake_agent(), asset=dg.AssetSpec("said"))
    assert materialize([asset], endpoint).success and not entries(place), "off, as the variable says"
    monkeypatch.setenv("ORCHESTRATOR_SPARE_SECONDS", "60")
    guardians: list[int] = []
    for _ in range(2):
        assert materialize([asset], endpoint).success
        wait_until(lambda: len(entries(place)) == 1, "one spare waits")
        guardians.append(int(next(iter(entries(place))).name.rpartition("-")[2]))
    first, second = guardians
    assert first != second and not alive(first), "the second run had the first one's, and left another"
    os.kill(second, signal.SIGTERM)
    wait_until(lambda: not alive(second), "it ends")

    monkeypatch.setenv("ORCHESTRATOR_SPARE_SECONDS", "soon")
    with pytest.raises(dg.DagsterResourceFunctionError) as caught:
        dg.materialize([asset], resources={"agent_runtimes": AgentRuntimes(model_url=endpoint.base_url)})
    assert "ORCHESTRATOR_SPARE_SECONDS is 'soon'; it must be a number of seconds" in str(
        caught.value.__cause__
    )
