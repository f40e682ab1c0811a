"""A guest is a process that may do anything: whatever it does, the trusted side goes on and nothing is left behind."""

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from orchestrator_runtimes import bundles
from orchestrator_runtimes.client import Bundle, RuntimeClient
from orchestrator_runtimes.conformance.fake import PROFILE
from orchestrator_runtimes.conformance.model_endpoint import ModelEndpoint
from orchestrator_runtimes.conformance.scripts import Fault, FaultKind, Script
from orchestrator_runtimes.errors import AgentError, ErrorCode
from orchestrator_runtimes.events import Event, Log
from orchestrator_runtimes.guest_commands import PASSED_ENVIRONMENT, GuestCommand, guest_address
from orchestrator_runtimes.launch import GuestProcess
from orchestrator_runtimes.messages import (
    CONTRACT_VERSION,
    AgentSource,
    Limits,
    ModelAddress,
    PortableAgent,
    Result,
    Run,
    ToolSource,
)
from tests.integration.processes import alive, parent

COMMAND = GuestCommand.of(PROFILE, Path(sys.executable), grace_seconds=1.0)

AGENT = """
import os, subprocess, sys, threading, time

def prints(city: str) -> str:
    print("on standard output")
    print("on standard error", file=sys.stderr)
    os.write(1, b"on the descriptor\\n")
    return "printed"

def environment(city: str) -> str:
    return ",".join(sorted(os.environ))

def spawns(city: str) -> str:
    child = subprocess.Popen([sys.executable, "-c", "import os,time; os.setsid(); time.sleep(600)"])
    return str(child.pid)

def forks(city: str) -> str:
    pid = os.fork()
    return f"pid {pid}"

def exits(city: str) -> str:
    sys.exit(3)

def eats(city: str) -> str:
    hoard = []
    while True:
        hoard.append(bytearray(64 * 1024 * 1024))

def blocks_forever(city: str) -> str:
    signal_free = threading.Event()
    while True:
        signal_free.wait(0.1)

async def blocks_loop(city: str) -> str:
    time.sleep(30)
    return "late"
"""


@asynccontextmanager
async def guest(command: GuestCommand = COMMAND) -> AsyncGenerator[GuestProcess, None]:
    process = await GuestProcess.start(command)
    try:
        yield process
    finally:
        await process.stop()


def bundle_of(folder: Path, text: str = AGENT) -> Bundle:
    folder.mkdir(exist_ok=True)
    (folder / "deeds.py").write_text(text)
    digest, archive = bundles.pack(folder)
    return Bundle(digest=digest, archive=archive)


async def use(
    process: GuestProcess, endpoint: ModelEndpoint, bundle: Bundle, tool: str, *, limits: Limits | None = None,
    execution: str = "one", script: Script | None = None, events: list[Event] | None = None,
) -> Result:  # fmt: skip
    async def on_event(event: Event) -> None:
        if events is not None:
            events.append(event)

    source = AgentSource(
        portable=PortableAgent(
            name="a", instructions="i", model="m", tools=(ToolSource(function=f"deeds:{tool}"),)
        )
    )
    loaded = await process.client.load(source, bundle)
    url = endpoint.script(tool, script or Script())
    run = Run(
        execution=execution, agent=loaded.agent or "", inputs="hi", limits=limits or Limits(seconds=20),
        model=ModelAddress(base_url=url),
    )  # fmt: skip
    return await process.client.run(run, on_event)


def scenario(work: Callable[[ModelEndpoint], Awaitable[Any]]) -> Any:
    async def run() -> Any:
        async with ModelEndpoint() as endpoint:
            return await asyncio.wait_for(work(endpoint), 100)

    return asyncio.run(run())


def last_prompt(endpoint: ModelEndpoint) -> str:
    return str(endpoint.calls[-1].body)


async def gone(pid: int, seconds: float = 10) -> bool:
    until = time.monotonic() + seconds
    while alive(pid) and time.monotonic() < until:
        await asyncio.sleep(0.05)
    return not alive(pid)


def test_what_is_printed_is_told_and_never_reaches_the_wire(tmp_path: Path) -> None:
    async def work(endpoint: ModelEndpoint) -> None:
        events: list[Event] = []
        async with guest() as process:
            result = await use(process, endpoint, bundle_of(tmp_path / "b"), "prints", events=events)
        assert result.usage.tool_calls == 1
        assert [e.text for e in events if isinstance(e, Log)] == ["on standard output", "on standard error"]

    scenario(work)


def test_a_guest_inherits_no_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAGSTER_PG_PASSWORD", "x")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")
    monkeypatch.setenv("PYTHONSTARTUP", "x")
    monkeypatch.delenv("NODE_OPTIONS", raising=False)  # where guests are measured, they have one of their own

    async def work(endpoint: ModelEndpoint) -> set[str]:
        async with guest() as process:
            await use(process, endpoint, bundle_of(tmp_path / "b"), "environment")
        seen = last_prompt(endpoint)
        return {name for name in os.environ if f"{name}," in seen or f",{name}" in seen}

    leaked = scenario(work) - set(PASSED_ENVIRONMENT)
    assert leaked <= {"HOME", "TMPDIR", "PYTHONPATH", "PYTHONUNBUFFERED", "LC_CTYPE"} | {
        # the measuring of guests' coverage adds its own, see tools/orchestrator_tools/guest_measurement.py
        n
        for n in leaked
        if n.startswith(("OPENAI_", "COVERAGE_"))
    }
    assert not leaked & {"DAGSTER_PG_PASSWORD", "AWS_SECRET_ACCESS_KEY", "PYTHONSTARTUP"}


def test_stopping_ends_processes_that_the_agent_left_in_sessions_of_their_own(tmp_path: Path) -> None:
    async def work(endpoint: ModelEndpoint) -> None:
        async with guest() as process:
            await use(process, endpoint, bundle_of(tmp_path / "b"), "spawns")
            messages: Any = (endpoint.calls[-1].body or {})["messages"]
            child = int(str(messages[-1]["content"]))
            worker = process.pid
            assert alive(child) and alive(worker)
        assert await gone(child) and await gone(worker)
        assert process.folder is not None and not process.folder.exists()

    scenario(work)


def test_a_guardian_that_is_killed_is_told_at_once_although_a_child_of_the_guest_lives(
    tmp_path: Path,
) -> None:
    async def work(endpoint: ModelEndpoint) -> None:
        async with guest() as process:
            result = await use(process, endpoint, bundle_of(tmp_path / "b"), "spawns")
            assert result.output
            messages: Any = (endpoint.calls[-1].body or {})["messages"]
            child = int(str(messages[-1]["content"]))
            try:
                os.kill(parent(process.pid), signal.SIGKILL)
                error = await process.crash("crashed")
                assert "it was ended by SIGKILL" in error.message
                await asyncio.wait_for(process.stop(), 5)
                assert alive(child), "it holds standard error, and nobody is left to end it"
            finally:
                os.kill(child, signal.SIGKILL)

    scenario(work)


def test_the_guest_ends_when_the_trusted_side_is_killed(tmp_path: Path) -> None:
    code = f"""
import asyncio, sys
sys.path[:0] = {sys.path!r}
from tests_guests import COMMAND, GuestProcess
async def main():
    process = await GuestProcess.start(COMMAND)
    print(process.pid, flush=True)
    await asyncio.sleep(600)
asyncio.run(main())
"""
    (tmp_path / "tests_guests.py").write_text(Path(__file__).read_text())

    async def work(_endpoint: ModelEndpoint) -> None:
        host = await asyncio.create_subprocess_exec(
            sys.executable, "-c", code, stdout=asyncio.subprocess.PIPE, cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])},
        )  # fmt: skip
        assert host.stdout is not None
        worker = int(await asyncio.wait_for(host.stdout.readline(), 30))
        assert alive(worker)
        host.kill()
        await host.wait()
        assert await gone(worker)

    scenario(work)


def test_an_agent_that_forks_answers_once(tmp_path: Path) -> None:
    async def work(endpoint: ModelEndpoint) -> None:
        async with guest() as process:
            bundle = bundle_of(tmp_path / "b")
            result = await use(process, endpoint, bundle, "forks")
            assert result.usage.tool_calls == 1
            again = await use(process, endpoint, bundle, "prints", execution="two")
            assert again.usage.tool_calls == 1

    scenario(work)


def test_an_agent_that_exits_fails_alone(tmp_path: Path) -> None:
    async def work(endpoint: ModelEndpoint) -> None:
        async with guest() as process:
            bundle = bundle_of(tmp_path / "b")
            with pytest.raises(AgentError) as caught:
                await use(process, endpoint, bundle, "exits")
            assert caught.value.code in (ErrorCode.FRAMEWORK_ERROR, ErrorCode.TOOL_FAILED)
            assert (await use(process, endpoint, bundle, "prints", execution="two")).usage.tool_calls == 1

    scenario(work)


def test_an_agent_that_eats_memory_meets_its_limit(tmp_path: Path) -> None:
    async def work(endpoint: ModelEndpoint) -> None:
        async with guest(replace(COMMAND, memory_mb=512)) as process:
            result = await use(process, endpoint, bundle_of(tmp_path / "b"), "eats")
            assert result.usage.tool_calls == 1
            assert "MemoryError" in last_prompt(endpoint)

    scenario(work)


def test_a_thread_that_never_ends_does_not_hold_the_execution_or_the_process(tmp_path: Path) -> None:
    async def work(endpoint: ModelEndpoint) -> float:
        async with guest() as process:
            worker = process.pid
            with pytest.raises(AgentError, match="timeout"):
                await use(
                    process, endpoint, bundle_of(tmp_path / "b"), "blocks_forever", limits=Limits(seconds=1)
                )
            began = time.monotonic()
        assert not alive(worker)
        return time.monotonic() - began

    assert scenario(work) < 5


def test_code_that_blocks_the_loop_is_ended_with_the_guest(tmp_path: Path) -> None:
    async def work(endpoint: ModelEndpoint) -> float:
        async with guest() as process:
            task = asyncio.create_task(use(process, endpoint, bundle_of(tmp_path / "b"), "blocks_loop"))
            while not endpoint.calls:
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.3)
            worker, began = process.pid, time.monotonic()
        assert not alive(worker)
        with pytest.raises(AgentError, match="runtime_crashed"):
            await task
        return time.monotonic() - began

    assert scenario(work) < 8


def test_a_stopped_guest_finishes_what_is_almost_done(tmp_path: Path) -> None:
    async def work(endpoint: ModelEndpoint) -> None:
        process = await GuestProcess.start(replace(COMMAND, grace_seconds=5))
        task = asyncio.create_task(
            use(process, endpoint, bundle_of(tmp_path / "b"), "prints", script=Script(latency=0.4))
        )
        while not endpoint.calls:
            await asyncio.sleep(0.01)
        os.kill(process.pid, signal.SIGTERM)
        assert (await task).usage.model_calls == 2
        await process.stop()

    scenario(work)


def test_a_stopped_guest_hands_back_what_does_not_end_in_time(tmp_path: Path) -> None:
    async def work(endpoint: ModelEndpoint) -> None:
        async with guest() as process:
            hang = Script(faults=(Fault(kind=FaultKind.HANG),))
            task = asyncio.create_task(
                use(process, endpoint, bundle_of(tmp_path / "b"), "prints", script=hang)
            )
            while not endpoint.calls:
                await asyncio.sleep(0.01)
            await process.client.shutdown(grace_seconds=0.2)
            with pytest.raises(AgentError) as caught:
                await task
            assert caught.value.code is ErrorCode.RUNTIME_CRASHED
            assert caught.value.code.retryable

    scenario(work)


def test_a_framework_that_cannot_be_imported_is_named() -> None:
    async def work(_endpoint: ModelEndpoint) -> str:
        with pytest.raises(AgentError) as caught:
            await GuestProcess.start(replace(COMMAND, adapter="no_such_adapter:Adapter"))
        assert caught.value.code is ErrorCode.RUNTIME_CRASHED
        return str(caught.value)

    assert "no_such_adapter" in scenario(work)


def test_another_major_version_of_the_contract_is_refused_by_name() -> None:
    async def work(_endpoint: ModelEndpoint) -> None:
        async with guest() as process:
            assert process.folder is not None
            reader, writer = await asyncio.open_unix_connection(
                guest_address(process.folder).removeprefix("unix:")
            )
            writer.write(b'{"jsonrpc":"2.0","id":1,"method":"run","params":{"execution":"e","agent":"a"}}\n')
            assert b"before 'initialize'" in await reader.readline()
            writer.write(b'{"jsonrpc":"2.0","id":2,"method":"initialize","params":{"contract":"2.0"}}\n')
            assert f"contract {CONTRACT_VERSION}, the other side '2.0'".encode() in await reader.readline()
            writer.write(
                b'{"jsonrpc":"2.0","id":3,"method":"initialize","params":{"contract":"1.7","new":1}}\n'
            )
            assert b'"framework":"fake"' in await reader.readline()
            writer.close()

    scenario(work)


def test_a_guest_is_reached_over_tcp_on_the_loopback_only(tmp_path: Path) -> None:
    async def work(_endpoint: ModelEndpoint) -> None:
        words = [
            sys.executable,
            "-m",
            "orchestrator_runtimes",
            "--adapter",
            PROFILE.adapter,
            "--folder",
            str(tmp_path),
        ]
        refused = await asyncio.create_subprocess_exec(
            *words, "--listen", "tcp:0.0.0.0:0", stderr=asyncio.subprocess.PIPE
        )
        assert b"cannot listen on 'tcp:0.0.0.0:0'" in (await refused.communicate())[1]
        server = await asyncio.start_server(lambda r, w: w.close(), "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        server.close()
        process = await asyncio.create_subprocess_exec(*words, "--listen", f"tcp:127.0.0.1:{port}")
        client = await RuntimeClient.connect(f"tcp:127.0.0.1:{port}", timeout=20)
        assert client.runtime.framework == "fake"
        await client.shutdown()
        assert await asyncio.wait_for(process.wait(), 10) == 0
        await client.close()

    scenario(work)
