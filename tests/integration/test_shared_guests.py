"""A shared guest: one for all runs of a user; whoever leaves it harms no other, and it ends when nobody comes."""

import asyncio
import os
import signal
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest

from orchestrator_resources.guest_pool import GuestPool
from orchestrator_runtimes import spares
from orchestrator_runtimes.conformance.fake import PROFILE
from orchestrator_runtimes.conformance.model_endpoint import ModelEndpoint
from orchestrator_runtimes.conformance.scripts import Script
from orchestrator_runtimes.errors import AgentError, ErrorCode
from orchestrator_runtimes.guest_commands import GuestCommand
from orchestrator_runtimes.launch import GuestProcess
from tests.integration.pool_runs import AGENT, run_one
from tests.integration.processes import alive, entries, parent, wait_until

pytestmark = pytest.mark.usefixtures("place")

IDLE_SECONDS: Final = 1.0
COMMAND: Final = replace(
    GuestCommand.of(PROFILE, Path(sys.executable), grace_seconds=1, spare_seconds=IDLE_SECONDS), shared=True
)


def ended(place: Path) -> bool:
    """Return whether nothing is left of any guest: no socket, no folder."""
    return not entries(place) and entries(place.parent) <= {place}


def test_all_have_one_guest_which_waits_for_the_next_and_ends_when_nobody_comes(place: Path) -> None:
    async def scenario() -> int:
        first, second = await GuestProcess.start(COMMAND), await GuestProcess.start(COMMAND)
        pid = first.pid
        assert second.pid == pid and first.shared
        await first.stop()
        assert second.running and (await second.client.load(AGENT.source)).agent
        await second.stop()
        assert alive(pid) and second.folder is not None and second.folder.exists()
        again = await GuestProcess.start(COMMAND)
        assert again.pid == pid
        await asyncio.sleep(2 * IDLE_SECONDS)
        assert again.running, "it is used, however little"
        await again.stop()
        return pid

    pid = asyncio.run(scenario())
    wait_until(lambda: not alive(pid) and ended(place), "it ends when nobody comes")


def test_of_many_that_come_at_once_one_starts_it(place: Path) -> None:
    def share(_: int) -> spares.Spare | None:
        return spares.share(COMMAND)

    with ThreadPoolExecutor(8) as threads:
        found = [spare for spare in threads.map(share, range(8)) if spare is not None]
    assert len(found) == 8 and len({spare.guardian for spare in found}) == 1
    for spare in found:
        spare.connection.close()  # as the system does for a process that is killed
        os.close(spare.errors)
    wait_until(lambda: not alive(found[0].guardian) and ended(place), "it ends when all are gone")


def test_a_crash_is_told_to_all_and_the_next_gets_a_new_guest(place: Path) -> None:
    async def scenario() -> None:
        guests = [await GuestProcess.start(COMMAND) for _ in range(2)]
        pid = guests[0].pid
        os.kill(pid, signal.SIGKILL)
        for guest in guests:
            error = await guest.crash("crashed")
            assert error.code is ErrorCode.RUNTIME_CRASHED and "SIGKILL" in str(error)
            await guest.stop(broken=True)
        new = await GuestProcess.start(COMMAND)
        assert new.pid != pid
        await new.stop()

    asyncio.run(scenario())
    wait_until(lambda: ended(place), "the new one ends")


def test_one_that_does_not_start_says_why_and_is_not_used_again(place: Path) -> None:
    broken = replace(COMMAND, adapter="no_such_adapter:Adapter")
    for _ in range(2):
        with pytest.raises(AgentError, match="no_such_adapter") as caught:
            asyncio.run(GuestProcess.start(broken))
        assert caught.value.code is ErrorCode.RUNTIME_CRASHED
    wait_until(lambda: ended(place), "nothing is left")


def test_a_guest_that_hangs_is_ended_for_all_and_replaced(place: Path) -> None:
    async def scenario() -> None:
        first, second = await GuestProcess.start(COMMAND), await GuestProcess.start(COMMAND)
        guardian = parent(first.pid)
        os.kill(first.pid, signal.SIGSTOP)
        with pytest.raises(AgentError):
            await GuestProcess.start(COMMAND, timeout=1)
        wait_until(lambda: not alive(guardian), "it is ended")
        assert not second.running
        await asyncio.gather(first.stop(), second.stop())
        third = await GuestProcess.start(COMMAND, timeout=20)
        assert third.running
        await third.stop()

    asyncio.run(scenario())
    wait_until(lambda: ended(place), "the new one ends")


def test_a_retired_guest_serves_those_that_have_it_and_nobody_else(place: Path) -> None:
    async def scenario() -> None:
        old = await GuestProcess.start(COMMAND)
        pid = old.pid
        old.retire()
        wait_until(lambda: not entries(place), "nobody can come")
        new = await GuestProcess.start(COMMAND)
        assert new.pid != pid and old.running
        assert (await old.client.load(AGENT.source)).agent
        await old.stop()
        wait_until(lambda: not alive(pid), "it ends with its last user")
        await new.stop()

    asyncio.run(scenario())
    wait_until(lambda: ended(place), "the new one ends")


@pytest.mark.parametrize("shared", [True, False])
def test_a_guest_that_has_grown_is_replaced_and_no_execution_is_lost(place: Path, *, shared: bool) -> None:
    command = replace(COMMAND, replace_above_mb=1, shared=shared)

    async def scenario() -> None:
        async with ModelEndpoint(Script(latency=0.05)) as endpoint:
            pool = GuestPool(command, processes=1)
            for turn in range(3):
                results = await asyncio.gather(*(run_one(pool, endpoint, f"{turn}-{n}") for n in range(10)))
                assert [result.usage.model_calls for result in results] == [1] * 10
                assert not pool.running(), "it is replaced when there is work again"
            await pool.close()
            assert endpoint.count == 30

    asyncio.run(scenario())
    wait_until(lambda: ended(place), "all of them end")


def test_a_run_waits_where_others_fill_the_guest() -> None:
    command = replace(COMMAND, max_executions=2)

    async def scenario() -> None:
        async with ModelEndpoint(Script(latency=0.3)) as endpoint:
            pools = [GuestPool(command, processes=1) for _ in range(3)]
            results = await asyncio.gather(
                *(run_one(pool, endpoint, f"{n}-{m}") for n, pool in enumerate(pools) for m in range(2))
            )
            assert [result.usage.model_calls for result in results] == [1] * 6
            assert endpoint.peak_active == 2
            assert len({pid for pool in pools for pid in pool.running()}) == 1
            await asyncio.gather(*(pool.close() for pool in pools))

    asyncio.run(scenario())


def test_what_it_writes_while_nobody_is_there_neither_blocks_nor_keeps_it(
    place: Path, tmp_path: Path
) -> None:
    (tmp_path / "chatty.py").write_text(
        "import sys, threading, time\n"
        "from orchestrator_runtimes.conformance.fake import FakeAdapter\n"
        "def talk():\n"
        "    while True:\n"
        "        print('x' * 10_000, file=sys.stderr)\n"
        "        time.sleep(0.01)\n"
        "class Chatty(FakeAdapter):\n"
        "    def __init__(self):\n"
        "        threading.Thread(target=talk, daemon=True).start()\n"
    )
    command = replace(
        COMMAND, adapter="chatty:Chatty", environment={"PYTHONPATH": f"{tmp_path}:{_contract()}"}
    )

    async def scenario() -> int:
        first = await GuestProcess.start(command)
        await asyncio.sleep(0.2)
        await first.stop()
        await asyncio.sleep(IDLE_SECONDS / 2)
        second = await GuestProcess.start(command)
        assert (await second.client.load(AGENT.source)).agent
        pid = second.pid
        await second.stop()
        return pid

    pid = asyncio.run(scenario())
    began = time.monotonic()
    wait_until(lambda: not alive(pid) and ended(place), "its words do not count as use")
    assert time.monotonic() - began < 10 * IDLE_SECONDS


def _contract() -> Path:
    return Path(spares.__file__).parents[1]


def test_without_waiting_there_is_no_sharing(place: Path) -> None:
    alone = replace(COMMAND, spare_seconds=0)

    async def scenario() -> None:
        first, second = await GuestProcess.start(alone), await GuestProcess.start(alone)
        assert first.pid != second.pid
        await asyncio.gather(first.stop(), second.stop())

    asyncio.run(scenario())
    wait_until(lambda: ended(place), "both end at once")
