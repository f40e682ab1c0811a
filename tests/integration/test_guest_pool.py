"""A pool of guests: as many processes as there is work for, and no execution is refused because one is full."""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import pytest

from orchestrator_resources.guest_pool import SPREAD_AT, Agent, GuestPool
from orchestrator_runtimes import bundles
from orchestrator_runtimes.client import Bundle
from orchestrator_runtimes.conformance.fake import PROFILE
from orchestrator_runtimes.conformance.model_endpoint import ModelEndpoint
from orchestrator_runtimes.conformance.scripts import Script
from orchestrator_runtimes.errors import AgentError, ErrorCode
from orchestrator_runtimes.guest_commands import GuestCommand
from orchestrator_runtimes.messages import AgentSource, ModelAddress, Result, Run
from tests.integration.pool_runs import ignore, run_one

T = TypeVar("T")

COMMAND = GuestCommand.of(PROFILE, Path(sys.executable), grace_seconds=1.0)


def with_pool(
    work: Callable[[GuestPool, ModelEndpoint], Awaitable[T]],
    command: GuestCommand,
    processes: int,
    latency: float = 0.3,
) -> T:
    async def run() -> T:
        pool = GuestPool(command, processes=processes)
        async with ModelEndpoint(Script(latency=latency)) as endpoint:
            try:
                return await asyncio.wait_for(work(pool, endpoint), 100)
            finally:
                await pool.close()

    return asyncio.run(run())


def test_more_executions_than_all_guests_take_wait_and_none_is_refused() -> None:
    async def work(pool: GuestPool, endpoint: ModelEndpoint) -> tuple[int, int]:
        results = await asyncio.gather(*(run_one(pool, endpoint, f"e{n}") for n in range(100)))
        assert [result.usage.model_calls for result in results] == [1] * 100
        return endpoint.count, endpoint.peak_active

    calls, peak = with_pool(work, replace(COMMAND, max_executions=10), processes=2)
    assert calls == 100
    assert 10 < peak <= 20


@pytest.mark.parametrize(
    ("executions", "processes"), [(SPREAD_AT, 1), (SPREAD_AT + 1, 2), (3 * SPREAD_AT, 2)]
)
def test_processes_are_started_as_there_is_work_for_them(executions: int, processes: int) -> None:
    async def work(pool: GuestPool, endpoint: ModelEndpoint) -> int:
        await asyncio.gather(*(run_one(pool, endpoint, f"e{n}") for n in range(executions)))
        return len(pool.running())

    assert with_pool(work, COMMAND, processes=2) == processes


def test_guests_that_start_together_share_the_work() -> None:
    async def work(pool: GuestPool, endpoint: ModelEndpoint) -> list[int]:
        running = [asyncio.create_task(run_one(pool, endpoint, f"e{n}")) for n in range(80)]
        while endpoint.active < 80:
            await asyncio.sleep(0.01)
        loads = list(pool.running().values())
        await asyncio.gather(*running)
        return loads

    assert with_pool(work, COMMAND, processes=2, latency=10) == [40, 40]


SUSPECTS = """
import os, re, sys, threading, time
from orchestrator_runtimes.conformance.fake import FakeAgent

def finish(text):
    if sys.orig_argv[sys.orig_argv.index("--max-executions") + 1] != "1":
        os._exit(1)
    match re.search("guilty|mine|slow", text):
        case None:
            return os.getpid()
        case found if found[0] == "guilty":
            os._exit(1)
        case found if found[0] == "mine":
            threading.Timer(0.3, os._exit, (1,)).start()
        case _:
            time.sleep(1)
    return os.getpid()

agent = FakeAgent(instructions="x", finish=finish)
"""


def test_one_guest_serves_suspects_in_turn_and_only_a_fresh_one_shows_who_is_guilty(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(SUSPECTS)
    digest, archive = bundles.pack(tmp_path)
    agent = Agent(source=AgentSource(entrypoint="mine:agent"), bundle=Bundle(digest=digest, archive=archive))

    async def work(pool: GuestPool, endpoint: ModelEndpoint) -> list[object]:
        base_url = endpoint.script("echo", Script(echo=r"\w+"))

        async def one(number: int, text: str) -> object:
            def request(loaded: str) -> Run:
                model = ModelAddress(base_url=base_url)
                return Run(execution=f"e{number}", agent=loaded, inputs=text, model=model)

            try:
                return (await pool.run(agent, request, ignore)).output
            except AgentError as error:
                return error.code

        suspects = ["good", "good", "guilty", "good", "mine", "slow", "good"]
        return [await one(number, text) for number, text in enumerate(suspects)]

    first, second, guilty, third, mine, slow, last = with_pool(work, COMMAND, processes=1, latency=0)
    assert guilty is ErrorCode.RUNTIME_CRASHED
    assert first == second and third == mine and slow == last
    assert len({first, third, slow}) == 3 and all(isinstance(pid, int) for pid in (first, third, slow))


UNLUCKY = """
import os
from pathlib import Path
from orchestrator_runtimes.conformance.fake import FakeAgent

def times(what):
    with Path({folder!r}, what).open("a") as file:
        file.write("x")
        return file.tell()

if times("loaded") <= 2:
    os._exit(1)

def finish(text):
    if times("begun") == 1:
        os._exit(1)
    return text

agent = FakeAgent(instructions="x", finish=finish)
"""


def test_a_guest_that_dies_before_an_execution_has_begun_is_no_sign_of_guilt(tmp_path: Path) -> None:
    """As when every guest is killed, and the next try meets one that is still dying."""
    code = tmp_path / "code"
    code.mkdir()
    (code / "mine.py").write_text(UNLUCKY.format(folder=str(tmp_path)))
    digest, archive = bundles.pack(code)
    agent = Agent(source=AgentSource(entrypoint="mine:agent"), bundle=Bundle(digest=digest, archive=archive))

    async def work(pool: GuestPool, endpoint: ModelEndpoint) -> object:
        model = ModelAddress(base_url=endpoint.script("echo", Script(echo=r"\w+")))
        result = await pool.run(
            agent, lambda loaded: Run(execution="e", agent=loaded, inputs="hello", model=model), ignore
        )
        return result.output

    assert "hello" in str(with_pool(work, COMMAND, processes=1, latency=0))
    assert (tmp_path / "begun").read_text() == "xx"


def test_a_runtime_that_cannot_start_says_why_to_every_execution() -> None:
    async def work(pool: GuestPool, endpoint: ModelEndpoint) -> list[Result | BaseException]:
        return await asyncio.gather(
            *(run_one(pool, endpoint, f"e{n}") for n in range(3)), return_exceptions=True
        )

    for error in with_pool(work, replace(COMMAND, adapter="no_such_module:Adapter"), processes=2):
        assert isinstance(error, AgentError) and error.code is ErrorCode.RUNTIME_CRASHED
        assert "no_such_module" in str(error.cause)
