"""The guardian as a process: its status is its guest's, and nothing below it outlives it."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

from orchestrator_runtimes import guardian
from tests.integration.processes import alive, parent, wait_until

SECONDS: Final = 30
CHILD: Final = (
    "import os, subprocess, sys, time\n"
    "child = subprocess.Popen([sys.executable, '-c', 'import os, signal, time; os.setsid();"
    " signal.signal(signal.SIGTERM, signal.SIG_IGN); print(os.getpid(), flush=True); time.sleep(600)'])\n"
)


@contextmanager
def guarded(code: str, *options: str, grace: float = 0.3) -> Generator["subprocess.Popen[str]", None, None]:
    """Start a guardian whose guest runs `code`; it is killed at the end of the test if it still lives."""
    words = [
        sys.executable,
        "-I",
        "-S",
        guardian.__file__,
        "--grace",
        str(grace),
        *options,
        "--",
        sys.executable,
        "-c",
    ]
    process = subprocess.Popen([*words, code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    with process:
        try:
            yield process
        finally:
            process.kill()


def lines(process: "subprocess.Popen[str]", count: int) -> list[int]:
    """Return process ids that guest and children print."""
    assert process.stdout is not None
    return [int(process.stdout.readline()) for _ in range(count)]


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("pass", 0),
        ("import sys; sys.exit(7)", 7),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", 128 + signal.SIGKILL),
        ("import os; os.abort()", 128 + signal.SIGABRT),
    ],
)
def test_its_status_is_the_guests(code: str, status: int) -> None:
    with guarded(code) as process:
        assert process.wait(SECONDS) == status


@pytest.mark.parametrize("how", ["input ends", "SIGTERM", "SIGINT", "guest ends"])
def test_nothing_below_it_is_left(how: str) -> None:
    rest = "" if how == "guest ends" else "print(os.getpid(), flush=True); time.sleep(600)"
    ending = "time.sleep(0.5)" if how == "guest ends" else ""
    with guarded(CHILD + rest + ending) as process:
        pids = lines(process, 1 if how == "guest ends" else 2)
        assert how == "guest ends" or all(map(alive, pids))
        if how == "input ends":
            assert process.stdin is not None
            process.stdin.close()
        elif how != "guest ends":
            process.send_signal(getattr(signal, how))
        status = process.wait(SECONDS)
        assert status == (0 if how == "guest ends" else 128 + signal.SIGINT)
        assert not any(map(alive, pids))


def test_a_guest_gets_its_grace_and_one_that_does_not_listen_is_killed() -> None:
    obeys = "import signal, sys, time\nsignal.signal(signal.SIGINT, lambda *_: sys.exit(5))\n"
    with guarded(obeys + "print(0, flush=True)\ntime.sleep(600)", grace=SECONDS) as process:
        lines(process, 1)
        began = time.monotonic()
        process.terminate()
        assert process.wait(SECONDS) == 5
        assert time.monotonic() - began < SECONDS / 2
    deaf = "import signal, time\nfor n in (signal.SIGINT, signal.SIGTERM):\n    signal.signal(n, signal.SIG_IGN)\n"
    with guarded(deaf + "print(0, flush=True)\ntime.sleep(600)") as process:
        lines(process, 1)
        process.terminate()
        assert process.wait(SECONDS) == 128 + signal.SIGKILL


def test_a_guest_dies_with_a_guardian_that_is_killed() -> None:
    with guarded("import os, time; print(os.getpid(), flush=True); time.sleep(600)") as process:
        (pid,) = lines(process, 1)
        process.kill()
        process.wait(SECONDS)
        until = time.monotonic() + SECONDS
        while alive(pid) and time.monotonic() < until:
            time.sleep(0.02)
        assert not alive(pid)


def test_a_guest_whose_guardian_died_before_it_was_ready_does_not_begin() -> None:
    code = (
        "import os, sys; sys.path.insert(0, os.path.dirname(sys.argv[1])); import guardian;"
        " guardian.prepare_guest(None, os.getpid()); print('begun')"
    )
    words = [sys.executable, "-I", "-S", "-c", code, guardian.__file__]
    told = subprocess.run(words, capture_output=True, text=True, timeout=SECONDS, check=False)
    assert (told.returncode, told.stdout) == (guardian.NOT_STARTED, ""), told.stderr


def test_memory_is_limited_and_a_program_that_is_not_there_is_told() -> None:
    hungry = "try:\n    x = bytearray(2**30)\nexcept MemoryError:\n    print(1, flush=True)\n"
    with guarded(hungry, "--memory-mb", "256") as process:
        assert lines(process, 1) == [1]
    words = [sys.executable, "-I", "-S", guardian.__file__, "--grace", "1", "--", "/nowhere/program"]
    told = subprocess.run(
        words, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False, timeout=SECONDS
    )
    assert told.returncode == guardian.NOT_STARTED and "/nowhere/program" in told.stderr
    assert os.path.basename(guardian.__file__) not in told.stderr, "no traceback"


def test_nobody_is_given_a_guest_that_has_ended_while_its_children_still_end(tmp_path: Path) -> None:
    code = f"{CHILD}print(os.getpid(), flush=True)\ntime.sleep(600)"
    prefix = tmp_path / "guest"
    with guarded(code, "--spare", str(prefix), "--shared", "--idle-seconds", "60") as process:
        child, guest = sorted(lines(process, 2), key=lambda pid: parent(pid) == process.pid)
        door = tmp_path / f"guest-{process.pid}"
        assert door.exists()
        os.kill(guest, signal.SIGKILL)
        wait_until(lambda: not door.exists(), "nobody else can come")
        assert alive(child) and process.poll() is None, "its child, which ignores SIGTERM, has yet to end"
        assert process.wait(SECONDS) == 128 + signal.SIGKILL
        assert not alive(child)
