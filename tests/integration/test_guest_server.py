"""Guests of another container: the server starts them, hands them over, and leaves nothing, whoever is killed."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, Awaitable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import pytest

from orchestrator_resources.guest_pool import GuestPool
from orchestrator_runtimes.conformance.fake import PROFILE
from orchestrator_runtimes.conformance.model_endpoint import ModelEndpoint
from orchestrator_runtimes.errors import AgentError, ErrorCode
from orchestrator_runtimes.guest_commands import GRACE_SECONDS, GuestCommand
from orchestrator_runtimes.launch import GuestProcess
from tests.integration.guest_servers import Served, guest_server, words
from tests.integration.pool_runs import run_one
from tests.integration.processes import alive, wait_until
from tests.integration.test_guests import bundle_of, use

SECONDS: Final = 60.0
SPEAKS: Final = """
import os

def speaks(city: str) -> str:
    os.write(2, "a word of mine, \u2026\\n".encode())
    return "spoken"
"""
QUICK: Final = {"grace_seconds": 1.0}


def bounded(work: Awaitable[None]) -> None:
    async def run() -> None:
        async with asyncio.timeout(SECONDS):
            await work

    asyncio.run(run())


@pytest.fixture
def short(place: Path) -> Path:
    """A folder with a short path."""
    return place.parent


def said_by_tool(endpoint: ModelEndpoint) -> str:
    """Return what the last tool answered."""
    messages: Any = (endpoint.calls[-1].body or {})["messages"]
    return str(messages[-1]["content"])


@asynccontextmanager
async def guest_of(command: GuestCommand) -> AsyncGenerator[GuestProcess]:
    guest = await GuestProcess.start(command)
    try:
        yield guest
    finally:
        await guest.stop()


def test_a_guest_runs_agents_and_its_words_come_over(
    short: Path, tmp_path: Path, endpoint: ModelEndpoint, capfd: pytest.CaptureFixture[str]
) -> None:
    async def scenario(served: Served) -> None:
        async with guest_of(served.command(PROFILE, environment={"MINE": "1"})) as guest:
            bundle = bundle_of(tmp_path / "code")
            await use(guest, endpoint, bundle_of(tmp_path / "words", SPEAKS), "speaks")
            assert said_by_tool(endpoint) == "spoken"
            await use(guest, endpoint, bundle, "environment", execution="two")
            seen = said_by_tool(endpoint).split(",")
            assert "MINE" in seen and "PYTEST_CURRENT_TEST" not in seen
            with pytest.raises(ProcessLookupError, match="another container"):
                _ = guest.pid
            assert guest.running and not guest.outgrown(0)

    with guest_server(short) as served:
        bounded(scenario(served))
        assert served.check() == 0
    assert "a word of mine, …\n" in capfd.readouterr().err


def test_the_folders_group_may_connect_and_nobody_else(short: Path) -> None:
    with guest_server(short) as served:
        assert served.socket.stat().st_mode & 0o777 == 0o660
        assert os.listdir(served.folder) == ["guests.sock"]
    assert not os.listdir(served.folder)
    assert served.check() == 1


def test_the_guest_that_was_started_ahead_is_for_those_who_ask_for_nothing_special(short: Path) -> None:
    async def scenario(served: Served) -> None:
        (ahead,) = served.guests()
        async with guest_of(served.command(PROFILE)):
            assert list(served.guests()) == [ahead]
            async with guest_of(served.command(PROFILE)):
                assert len(served.guests()) == 2

    async def other(served: Served) -> None:
        (ahead,) = served.guests()
        async with guest_of(served.command(PROFILE, **QUICK)):
            assert len(served.guests()) == 1 and ahead not in served.guests()

    with guest_server(short) as served:
        wait_until(lambda: len(served.guests()) == 1, "one is started ahead")
        bounded(scenario(served))
    with guest_server(short / "again") as served:
        wait_until(lambda: len(served.guests()) == 1, "one is started ahead")
        bounded(other(served))


@pytest.mark.parametrize(
    ("victim", "how"),
    [("guest", "ended by SIGKILL"), ("guardian", "ended by SIGKILL"), ("server", "ended by SIGKILL")],
)
def test_whoever_is_killed_nothing_is_left_and_it_is_told(
    victim: str, how: str, short: Path, tmp_path: Path, endpoint: ModelEndpoint
) -> None:
    async def scenario(served: Served) -> None:
        async with guest_of(served.command(PROFILE, **QUICK)) as guest:
            await use(guest, endpoint, bundle_of(tmp_path / "code"), "spawns")
            child = int(said_by_tool(endpoint))
            ((above, below),) = served.guests().items()
            below_all = served.processes()
            assert {above, below, child} <= set(below_all)
            os.kill({"guest": below, "guardian": above, "server": served.process.pid}[victim], signal.SIGKILL)
            error = await guest.crash("crashed")
            assert error.code is ErrorCode.RUNTIME_CRASHED
            assert how in error.message
            assert not guest.running
            wait_until(lambda: not any(map(alive, below_all)), "nothing that was below the server is left")

    with guest_server(short) as served:
        bounded(scenario(served))
        assert (served.process.poll() is None) is (victim != "server")


def test_a_trusted_side_that_leaves_or_is_killed_ends_its_guests(short: Path) -> None:
    code = (
        "import asyncio, sys\nfrom pathlib import Path\n"
        "from orchestrator_runtimes.conformance.fake import PROFILE\n"
        "from orchestrator_runtimes.guest_commands import GuestCommand\n"
        "from orchestrator_runtimes.launch import GuestProcess\n"
        "async def main():\n"
        "    guest = await GuestProcess.start(GuestCommand.of(PROFILE, Path(), served=Path(sys.argv[1])))\n"
        "    print('started', flush=True)\n"
        "    await asyncio.Event().wait()\n"
        "asyncio.run(main())\n"
    )
    with guest_server(short) as served:
        asked = [sys.executable, "-c", code, str(served.socket)]
        with subprocess.Popen(asked, stdout=subprocess.PIPE, text=True) as trusted:
            assert trusted.stdout is not None
            assert trusted.stdout.readline() == "started\n"
            assert served.processes()
            trusted.kill()
        wait_until(lambda: not served.processes(), "the guest ends with who asked for it")
        assert served.check() == 0


def test_a_full_server_says_so_and_a_pool_goes_on_with_what_it_has(
    short: Path, endpoint: ModelEndpoint
) -> None:
    async def scenario(served: Served) -> None:
        async with guest_of(served.command(PROFILE)):
            with pytest.raises(AgentError, match="has as many guests as it may: lower `processes`") as caught:
                await GuestProcess.start(served.command(PROFILE))
            assert caught.value.detail == {"guest_server": "full"}
        pool = GuestPool(served.command(PROFILE, max_executions=40), processes=4)
        results = await asyncio.gather(*(run_one(pool, endpoint, f"EXEC-{n}") for n in range(100)))
        assert len(results) == 100
        assert len(served.guests()) == 1
        await pool.close()

    with guest_server(short, "fake", "--most", "1") as served:
        bounded(scenario(served))


def test_sigterm_ends_an_idle_server_at_once_and_a_busy_one_within_the_grace(
    short: Path, tmp_path: Path, endpoint: ModelEndpoint
) -> None:
    async def scenario(served: Served) -> None:
        async with guest_of(served.command(PROFILE, **QUICK)) as guest:
            bundle = bundle_of(tmp_path / "code")
            running = asyncio.create_task(use(guest, endpoint, bundle, "blocks_forever"))
            while not endpoint.count:
                await asyncio.sleep(0.01)
            began = time.monotonic()
            served.process.terminate()
            with pytest.raises(AgentError) as caught:
                await running
            assert caught.value.code.retryable
            await asyncio.to_thread(served.process.wait, SECONDS)
            assert time.monotonic() - began < 10

    endpoint.reset()
    with guest_server(short) as served:
        wait_until(lambda: len(served.guests()) == 1, "one is started ahead")
        with socket.socket(socket.AF_UNIX) as silent:
            silent.connect(str(served.socket))
            began = time.monotonic()
            served.process.terminate()
            assert served.process.wait(SECONDS) == 0
            assert time.monotonic() - began < GRACE_SECONDS
    with guest_server(short / "again") as served:
        bounded(scenario(served))
        assert served.process.returncode == 0


def test_a_guest_that_has_grown_is_known_by_what_the_server_tells(short: Path) -> None:
    async def scenario(served: Served) -> None:
        growing = replace(PROFILE, name="growing", replace_above_mb=1)
        async with guest_of(served.command(growing)) as guest:
            while not guest.outgrown(0):
                await asyncio.sleep(0.05)

    with guest_server(short, "growing") as served:
        bounded(scenario(served))


def test_callers_that_say_nothing_or_nonsense_harm_nobody(short: Path) -> None:
    def says(served: Served, said: bytes) -> bytes:
        with socket.socket(socket.AF_UNIX) as caller:
            caller.settimeout(SECONDS)
            caller.connect(str(served.socket))
            with suppress(OSError):
                caller.sendall(said)
            return caller.recv(2**16)

    with guest_server(short) as served:
        silent = [socket.socket(socket.AF_UNIX) for _ in range(8)]
        for caller in silent:
            caller.connect(str(served.socket))
        assert b"not_started" in says(served, b"hello\n")
        assert b"max_executions" in says(
            served, b'{"framework":"fake","max_executions":0,"grace_seconds":1}\n'
        )
        assert b"not_started" in says(served, bytes(2**17))
        assert b'"framework"' in says(served, b'{"framework":"n8n","max_executions":1,"grace_seconds":1}\n')
        assert served.check() == 0
        for caller in silent:
            caller.settimeout(SECONDS)
            assert caller.recv(1) == b"", "nobody is waited for for ever"
            caller.close()
        assert served.process.poll() is None


def test_a_framework_that_is_not_in_the_image_and_a_folder_that_is_not_there_are_named(short: Path) -> None:
    def refused(*line: str) -> str:
        done = subprocess.run(line, capture_output=True, text=True, check=False, timeout=SECONDS)
        assert done.returncode == 2 and len(done.stderr.splitlines()) == 1, done.stderr
        return done.stderr

    said = refused(*words(sys.executable, "autogen", short))
    assert said.startswith("no framework 'autogen' is installed in this image; there are agentscope,")
    said = refused(*words(sys.executable, "agno", short / "missing"))
    assert said.startswith("the guest server of 'agno' cannot run: [Errno 2]")
