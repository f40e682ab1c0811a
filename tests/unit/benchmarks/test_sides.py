"""A side is told to run a batch, answers, and is measured from outside."""

import os
import sys
import time
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from benchmarks import sides
from benchmarks.capacity import CONNECTIONS, measure_capacity
from benchmarks.endpoints import scripted_endpoint
from benchmarks.frameworks import Framework, FrameworkMissing, find_frameworks
from benchmarks.process_trees import resident_bytes
from benchmarks.sides import Side, SideFailed, bare_side
from benchmarks.sizes import QUICK
from orchestrator_runtimes.conformance.fake import PROFILE

RUNNER = """
import asyncio, json, os, urllib.request

def ask(prompt):
    body = {"model": "m", "messages": [{"role": "user", "content": prompt}]}
    url = os.environ["OPENAI_BASE_URL"] + "/chat/completions"
    with urllib.request.urlopen(urllib.request.Request(url, json.dumps(body).encode())) as answer:
        return json.load(answer)["choices"][0]["message"]["content"]

async def execute(prompt):
    print("what a framework prints is no answer")
    if "EXEC-3." in prompt:
        raise ValueError("no station")
    if "EXEC-4." in prompt:
        return "somebody else's answer"
    return await asyncio.to_thread(ask, prompt)
"""


@pytest.fixture
def bare_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(sides, "BARE", tmp_path)
    return tmp_path


def bare(endpoint: str) -> AbstractContextManager[Side]:
    return bare_side(Framework(profile=PROFILE, python=Path(sys.executable)), endpoint)


def test_a_batch_counts_what_raised_and_what_answered_wrongly(bare_folder: Path) -> None:
    (bare_folder / "fake.py").write_text(RUNNER)
    with scripted_endpoint(latency=0.2) as endpoint, bare(endpoint.base_url) as side:
        assert side.run(3).failed == 0
        report = side.run(5, watch_memory=True)
        assert len(endpoint.calls()) == 6
    assert (report.executions, report.failed) == (5, 2)
    assert report.first_failure == "ValueError('no station')"
    assert report.seconds >= 0.2 and report.cpu_seconds > 0 and report.peak_bytes > 5 * 2**20
    assert side.start_seconds > 0


def test_a_side_may_say_itself_what_its_start_took(tmp_path: Path) -> None:
    words = [sys.executable, "-c", """print('{"ready": true, "seconds": 150.5}', flush=True); input()"""]
    with sides.side_process("it", words, {}, tmp_path) as side:
        assert side.start_seconds == 150.5


def test_a_side_that_ends_says_why(bare_folder: Path) -> None:
    (bare_folder / "fake.py").write_text("raise SystemExit('the framework is broken')")
    with pytest.raises(SideFailed, match="the framework is broken"), bare("http://127.0.0.1:9/v1"):
        pass


def test_a_side_that_hangs_is_given_up(bare_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (bare_folder / "fake.py").write_text("import asyncio\nasync def execute(prompt): await asyncio.sleep(60)")
    with bare("http://127.0.0.1:9/v1") as side:
        monkeypatch.setattr(sides, "ANSWER_SECONDS", 0.2)
        with pytest.raises(SideFailed, match="gave no answer"):
            side.run(1)


def test_a_side_that_fails_leaves_nothing_running(tmp_path: Path) -> None:
    code = """
import pathlib, subprocess
pathlib.Path("child").write_text(str(subprocess.Popen(["sleep", "60"], stdout=2).pid))
print('{"ready": true}', flush=True)
input()
"""
    words = [sys.executable, "-c", code]
    path = {"PATH": os.defpath}
    with pytest.raises(SideFailed), sides.side_process("it", words, path, tmp_path) as side:
        side.run(1)
    child, end = int((tmp_path / "child").read_text()), time.monotonic() + 10
    while resident_bytes(child) and time.monotonic() < end:
        time.sleep(0.01)
    assert resident_bytes(child) == 0


def test_the_endpoint_carries_its_connections() -> None:
    (row,) = measure_capacity(QUICK).rows
    assert row["connections"] == CONNECTIONS and float(row["requests/s"] or 0) > 50


def test_an_unknown_framework_is_named_with_those_there_are() -> None:
    with pytest.raises(FrameworkMissing, match="no benchmark of 'autogpt', only of agentscope, agno"):
        find_frameworks(["autogpt"])
