"""n8n's process is shared by the runs of a user, and replaced when it has grown without losing an execution."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest

from orchestrator_resources.environments import EnvironmentStore
from orchestrator_resources.guest_pool import GuestPool
from orchestrator_resources.homes import home_folder
from orchestrator_runtimes.conformance.model_endpoint import ModelEndpoint
from orchestrator_runtimes.guest_commands import GuestCommand
from orchestrator_runtimes.profiles import installed_frameworks
from tests.integration.pool_runs import run_one
from tests.integration.processes import alive, entries, wait_until

pytestmark = [pytest.mark.usefixtures("place"), pytest.mark.timeout(240)]

IDLE_SECONDS: Final = 3.0


def command() -> GuestCommand:
    profile = installed_frameworks()["n8n"]
    environment = EnvironmentStore(home_folder()).find(profile.lock())
    assert environment is not None, "install it first: orchestrator runtimes install n8n"
    return GuestCommand.of(profile, environment.python, spare_seconds=IDLE_SECONDS)


async def batches(pool: GuestPool, running: Callable[[], Mapping[int, int]]) -> list[set[int]]:
    """Run two batches, and return the processes that ran after each."""
    found: list[set[int]] = []
    async with ModelEndpoint() as endpoint:
        for batch in range(2):
            results = await asyncio.gather(*(run_one(pool, endpoint, f"{batch}-{n}") for n in range(20)))
            assert [result.usage.model_calls for result in results] == [1] * 20
            found.append(set(running()))
    return found


def test_runs_share_one_process_that_ends_when_nobody_comes(place: Path) -> None:
    async def scenario() -> int:
        pids: set[int] = set()
        for _ in range(2):
            pool = GuestPool(command())
            for after in await batches(pool, pool.running):
                pids |= after
            await pool.close()
        (pid,) = pids
        assert alive(pid)
        return pid

    pid = asyncio.run(scenario())
    wait_until(lambda: not alive(pid) and not entries(place), "it ends when nobody comes")


def test_a_process_that_has_grown_is_replaced_and_no_execution_is_lost(place: Path) -> None:
    async def scenario() -> None:
        pool = GuestPool(replace(command(), replace_above_mb=100))
        assert await batches(pool, pool.running) == [set(), set()], (
            "each has too much memory after its first batch"
        )
        await pool.close()

    asyncio.run(scenario())
    wait_until(lambda: not entries(place) and entries(place.parent) == {place}, "nothing is left")
