"""Whatever a guest server does, the trusted side tells it in a line, waits for nothing, and keeps no descriptor.

`test_served_guardian.py` runs these in a process of their own, since they count what is open in it.
"""

import asyncio
import gc
import json
import os
import signal
import socket
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestrator_runtimes import guest_server_connections
from orchestrator_runtimes.conformance.fake import PROFILE
from orchestrator_runtimes.errors import AgentError, ErrorCode
from orchestrator_runtimes.guest_commands import GuestCommand
from orchestrator_runtimes.guest_server_messages import TOLD_BYTES
from orchestrator_runtimes.launch import GuestProcess
from orchestrator_runtimes.served_guardian import ServedGuardian

SECONDS: Final = 20.0
COMMAND: Final = GuestCommand.of(PROFILE, Path(), environment={"A": "b"}, memory_mb=900)
KILLED: Final = 128 + signal.SIGKILL

Talk = Callable[[socket.socket], Awaitable[None]]


def told(kind: str, **fields: Any) -> bytes:
    return json.dumps({"told": {"kind": kind, **fields}}).encode() + b"\n"


def bounded(work: Awaitable[None]) -> None:
    async def run() -> None:
        async with asyncio.timeout(SECONDS):
            await work

    asyncio.run(run())


def open_descriptors() -> set[tuple[str, str]]:
    """Return the number of each descriptor of this process and what it is of."""
    gc.collect()
    found = set[tuple[str, str]]()
    for number in os.listdir("/proc/self/fd"):
        with suppress(FileNotFoundError):  # the listing's own
            found.add((number, os.readlink(f"/proc/self/fd/{number}")))
    return found


def kept(before: set[tuple[str, str]]) -> set[tuple[str, str]]:
    """Return what was opened since and is open."""
    return open_descriptors() - before


@asynccontextmanager
async def served(talk: Talk, folder: Path) -> AsyncGenerator[Path]:
    """Stand in for a guest server: take one connection and its hello, then let `talk` do what it likes."""
    path = folder / "fake.sock"
    path.unlink(missing_ok=True)
    loop = asyncio.get_running_loop()

    async def serve(listener: socket.socket) -> None:
        control, _ = await loop.sock_accept(listener)
        with control, suppress(OSError):  # the trusted side has had enough
            assert (await loop.sock_recv(control, 2**16)).endswith(b"\n")
            await talk(control)

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        listener.setblocking(False)
        serving = asyncio.create_task(serve(listener))
        try:
            yield path
        finally:
            serving.cancel()
            await asyncio.gather(serving, return_exceptions=True)


def says(*pieces: bytes) -> Talk:
    async def talk(control: socket.socket) -> None:
        for piece in pieces:
            await asyncio.get_running_loop().sock_sendall(control, piece)

    return talk


def hands_over(line: bytes, *descriptors: int) -> Talk:
    async def talk(control: socket.socket) -> None:
        socket.send_fds(control, [line], list(descriptors))

    return talk


async def failure(talk: Talk, folder: Path) -> AgentError:
    """Return how the start of a guest fails."""
    async with served(talk, folder) as path:
        with pytest.raises(AgentError) as caught:
            await GuestProcess.start(replace(COMMAND, served=path))
    return caught.value


@pytest.mark.parametrize(
    ("talk", "why"),
    [
        (says(b"hello\n"), "Expecting value"),
        (says(b"\n"), "Expecting value"),
        (says(b"[]\n"), "expected an object"),
        (says(b"{}\n"), "told: missing"),
        (says(told("ended", status=256)), "an exit status is 0 to 255"),
        (says(told("ended", status=-1)), "an exit status is 0 to 255"),
        (says(told("ended", status=True)), "expected a whole number"),
        (says(told("ended", status="0")), "expected a whole number"),
        (says(told("resident", mb="much")), "expected a number"),
        (says(told("words", text=7)), "expected a string"),
        (says(told("refused", reason="lazy")), "expected one of"),
        (says(told("connected")), "no descriptor comes"),
        (says(b"x" * (TOLD_BYTES + 2**17)), "longer than"),
        (hands_over(told("connected"), 0, 1), "more than one descriptor"),
        (hands_over(told("connected"), *[0] * 100), "more than one descriptor"),
        (hands_over(told("connected"), 0), "no connection to a guest: it is no socket"),
    ],
)
def test_a_server_that_breaks_the_protocol_is_told(talk: Talk, why: str, tmp_path: Path) -> None:
    before = open_descriptors()
    error: list[AgentError] = []

    async def scenario() -> None:
        error.append(await failure(talk, tmp_path))

    bounded(scenario())
    assert error[0].code is ErrorCode.RUNTIME_CRASHED
    assert "the guest server of 'fake' does not keep to the protocol" in error[0].message
    assert why in (error[0].cause or "")
    assert not kept(before)


def test_a_second_connection_ends_the_first(tmp_path: Path) -> None:
    before = open_descriptors()

    async def scenario() -> None:
        one, other = socket.socketpair()

        async def talk(control: socket.socket) -> None:
            for _ in range(2):
                socket.send_fds(control, [told("connected")], [one.fileno()])

        with one, other:
            async with served(talk, tmp_path) as path:
                guardian = await ServedGuardian.ask(COMMAND, path)
                await guardian.wait()
                assert guardian.fault is not None and "comes twice" in str(guardian.fault)
                guardian.close()

    bounded(scenario())
    assert not kept(before)


def test_what_a_newer_server_tells_beside_is_ignored(tmp_path: Path) -> None:
    async def scenario() -> None:
        lines = told("weather", sunny=True), told("resident", mb=12.5, more=1), told("ended", status=3)
        async with served(says(*lines), tmp_path) as path:
            guardian = await ServedGuardian.ask(COMMAND, path)
            await guardian.wait()
            assert (guardian.status, guardian.fault, guardian.resident_mb()) == (3, None, 12.5)
            with pytest.raises(ProcessLookupError, match="another container"):
                _ = guardian.guest
            guardian.close()

    bounded(scenario())


@pytest.mark.parametrize(
    ("reason", "what"),
    [
        ("full", "has as many guests as it may: lower `processes`, or start it with a higher --most (why)"),
        ("framework", "serves another framework: look at its container's image and --framework (why)"),
        ("not_started", "cannot start a guest (why)"),
    ],
)
def test_a_refusal_says_what_to_do(reason: str, what: str, tmp_path: Path) -> None:
    async def scenario() -> None:
        error = await failure(says(told("refused", reason=reason, message="why")), tmp_path)
        assert str(error) == f"runtime_crashed: the guest server of 'fake' {what}"
        assert error.detail == {"guest_server": reason}

    bounded(scenario())


def test_a_guest_that_ends_before_it_listens_is_told_with_its_last_words(tmp_path: Path) -> None:
    async def scenario() -> None:
        lines = (
            told("words", text="first"),
            told("words", text="No module named 'x'"),
            told("ended", status=3),
        )
        error = await failure(says(*lines), tmp_path)
        assert error.message == "the runtime 'fake' did not start: it ended with status 3"
        assert error.cause == "first\nNo module named 'x'"
        error = await failure(says(), tmp_path)
        assert error.message == "the runtime 'fake' did not start: it was ended by SIGKILL"

    bounded(scenario())


def test_a_server_that_says_nothing_is_waited_for_a_while(tmp_path: Path) -> None:
    async def scenario() -> None:
        async def talk(_control: socket.socket) -> None:
            await asyncio.Event().wait()

        async with served(talk, tmp_path) as path:
            guardian = await ServedGuardian.ask(COMMAND, path)
            with pytest.raises(AgentError, match="the guest server of 'fake' gave no guest"):
                await guardian.connection(0.1)
            guardian.kill()
            await guardian.wait()
            assert guardian.status == KILLED

    bounded(scenario())


def test_only_a_socket_where_somebody_listens_is_a_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guest_server_connections, "START_SECONDS", 0.2)

    async def refused(path: Path, why: str) -> None:
        with pytest.raises(
            AgentError, match=r"no guest server of 'fake' answers at .*container runs"
        ) as caught:
            await ServedGuardian.ask(COMMAND, path)
        assert why in (caught.value.cause or "")

    async def scenario() -> None:
        await refused(tmp_path / "missing.sock", "FileNotFoundError")
        (tmp_path / "file.sock").write_text("")
        await refused(tmp_path / "file.sock", "it is no socket")
        os.mkfifo(tmp_path / "pipe.sock")
        await refused(tmp_path / "pipe.sock", "it is no socket")
        async with served(says(), tmp_path) as path:
            (tmp_path / "link.sock").symlink_to(path)
            await refused(tmp_path / "link.sock", "it is no socket")
        await refused(path, "ConnectionRefusedError")
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as datagrams:
            datagrams.bind(str(tmp_path / "datagrams.sock"))
            await refused(tmp_path / "datagrams.sock", "Protocol wrong type")

    bounded(scenario())


def test_words_that_nobody_takes_hold_the_server_back_and_the_end_is_still_heard(tmp_path: Path) -> None:
    sent = 0

    async def talk(control: socket.socket) -> None:
        nonlocal sent
        line = told("words", text="x" * 1_000)
        for _ in range(4_000):
            await asyncio.get_running_loop().sock_sendall(control, line)
            sent += 1
        await asyncio.get_running_loop().sock_sendall(control, told("ended", status=0))

    async def scenario() -> None:
        async with served(talk, tmp_path) as path:
            guardian = await ServedGuardian.ask(COMMAND, path)
            before = -1
            while sent != before or not sent:
                before = sent
                await asyncio.sleep(0.2)
            assert sent < 2_000, "it waits"
            heard = 0
            while await guardian.errors.readline():
                heard += 1
            await guardian.wait()
            assert (heard, guardian.status) == (4_000, 0)
            guardian.close()

    bounded(scenario())


KINDS: Final = st.sampled_from(["connected", "words", "resident", "ended", "refused", "other"])
VALUES: Final = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(max_size=20), st.just([])
)


def odd(kind: str, fields: dict[str, Any]) -> bytes:
    return told(kind, **fields)


def words(text: str) -> bytes:
    return told("words", text=text)


FIELDS: Final = st.dictionaries(st.sampled_from(["text", "mb", "status", "reason", "message"]), VALUES)
LINES: Final = st.one_of(
    st.binary(max_size=200), st.builds(odd, KINDS, FIELDS), st.builds(words, st.text(max_size=50))
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(pieces=st.lists(LINES, max_size=8), cut=st.integers(1, 50))
def test_whatever_a_server_says_ends_in_a_status_that_is_one(
    pieces: list[bytes], cut: int, tmp_path: Path
) -> None:
    said = b"".join(pieces)

    async def scenario() -> None:
        cuts = [said[i : i + cut] for i in range(0, len(said), cut)]
        async with served(says(*cuts), tmp_path) as path:
            guardian = await ServedGuardian.ask(COMMAND, path)
            await guardian.wait()
            assert guardian.status is not None and 0 <= guardian.status <= 255
            with pytest.raises(AgentError):
                await guardian.connection(1)
            await guardian.errors.read()
            guardian.close()

    before = open_descriptors()
    bounded(scenario())
    assert not kept(before)
