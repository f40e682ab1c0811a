"""The two sides of a comparison: processes that run a batch when they are told to, measured from outside."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from benchmarks.frameworks import AGENTS, BARE, BENCHMARKS, Framework
from benchmarks.process_trees import PeakMemory, children, tree_cpu_seconds, tree_resident_bytes
from orchestrator_runtimes.guest_commands import PASSED_ENVIRONMENT

ANSWER_SECONDS: Final = 600.0
"""A batch that takes longer is given up: the slowest known takes two and a half minutes."""

_END_SECONDS: Final = 30.0


class SideFailed(Exception):
    """A side ended, or did not answer in time; the text holds the last lines it said."""


@dataclass(frozen=True, kw_only=True)
class BatchReport:
    """How one batch went.

    Attributes:
        executions: How many were asked for.
        failed: How many raised or gave a wrong answer.
        first_failure: The first of them; None when there is none.
        seconds: Wall time of the batch, by the side's own clock.
        cpu_seconds: Of every process of the side.
        peak_bytes: Most resident memory of all its processes together; 0 when it was not watched.
        latencies: Seconds of each execution, where they ran one at a time.
    """

    executions: int
    failed: int
    first_failure: str | None
    seconds: float
    cpu_seconds: float
    peak_bytes: int = 0
    latencies: tuple[float, ...] = ()


class Side:
    """A running side; made by `bare_side` and `our_side`.

    Attributes:
        start_seconds: From the start of its process until it was ready, or of that which it says itself.
    """

    def __init__(self, name: str, process: "subprocess.Popen[str]", log: Path) -> None:
        """Wait until it is ready."""
        self._name = name
        self._process = process
        self._log = log
        began = time.monotonic()
        ready = self._answer()
        self.start_seconds = float(ready.get("seconds", time.monotonic() - began))

    def run(self, count: int, *, watch_memory: bool = False) -> BatchReport:
        """Run a batch of `count` executions.

        Raises:
            SideFailed: It ended, or took longer than `ANSWER_SECONDS`.
        """
        before = tree_cpu_seconds(self._process.pid)
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"count": count}) + "\n")
        self._process.stdin.flush()
        peak = 0
        if watch_memory:
            with PeakMemory(self._process.pid) as memory:
                answer = self._answer()
            peak = memory.peak
        else:
            answer = self._answer()
        return BatchReport(
            executions=count,
            failed=int(answer["failed"]),
            first_failure=answer["first_failure"],
            seconds=float(answer["seconds"]),
            cpu_seconds=tree_cpu_seconds(self._process.pid) - before,
            peak_bytes=peak,
            latencies=tuple(answer.get("latencies", ())),
        )

    def resident_of_children(self) -> dict[int, int]:
        """Return the resident bytes of each process that it started, with all below that, by process id."""
        return {child: tree_resident_bytes(child) for child in children(self._process.pid)}

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        limit = threading.Timer(ANSWER_SECONDS, os.killpg, (self._process.pid, signal.SIGKILL))
        limit.start()
        try:
            line = self._process.stdout.readline()
        finally:
            limit.cancel()
        if not line:
            said = "\n".join(self._log.read_text(errors="replace").splitlines()[-15:])
            raise SideFailed(f"{self._name} gave no answer; it said last:\n{said}")
        return json.loads(line)

    def end(self) -> None:
        """Close its input, which ends it, and wait."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()


@contextmanager
def bare_side(framework: Framework, endpoint: str) -> Generator[Side]:
    """Start the framework by itself, with the environment that a guest of it would have."""
    words = [
        str(framework.python),
        "-P",
        str(BENCHMARKS / "bare_process.py"),
        str(BARE / f"{framework.name}.py"),
    ]
    with tempfile.TemporaryDirectory(prefix="benchmark-") as home:
        environment = {
            **{name: os.environ[name] for name in PASSED_ENVIRONMENT if name in os.environ},
            **framework.profile.environment,
            "HOME": home,
            "PYTHONPATH": str(AGENTS),
            "OPENAI_BASE_URL": endpoint,
            "OPENAI_API_BASE": endpoint,
            "OPENAI_API_KEY": "not-a-key",
        }
        with side_process(f"{framework.name}, bare", words, environment, Path(home)) as side:
            yield side


@contextmanager
def our_side(framework: Framework, endpoint: str, *options: str) -> Generator[Side]:
    """Start the process that runs batches through the contract; `options` are those of `our_process`."""
    words = [sys.executable, "-m", "benchmarks.our_process"]
    words += ["--framework", framework.name, "--endpoint", endpoint, *options]
    environment = {**os.environ, "PYTHONPATH": f"{BENCHMARKS.parent}:{os.environ.get('PYTHONPATH', '')}"}
    with (
        tempfile.TemporaryDirectory(prefix="benchmark-") as folder,
        side_process(f"{framework.name}, ours", words, environment, Path(folder)) as side,
    ):
        yield side


@contextmanager
def side_process(
    name: str, words: Sequence[str], environment: Mapping[str, str], folder: Path
) -> Generator[Side]:
    """Start the process of a side in a folder, which gets its log, and end it.

    Args:
        name: For errors.
        words: Its command line; it speaks as `bare_process` does.
        environment: All its variables.
        folder: Where it runs.

    Raises:
        SideFailed: It does not get ready.
    """
    log = folder / "said.log"
    with log.open("w") as said:
        process = subprocess.Popen(
            words,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=said,
            cwd=folder,
            env=environment,
            text=True,
            start_new_session=True,
        )
    try:
        side = Side(name, process, log)
        yield side
        side.end()
    except BaseException:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # also what it left behind, when it has ended itself
        process.wait()
        raise
    finally:
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()
