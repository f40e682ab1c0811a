"""CPU and memory of a process and of what it started."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from benchmarks.process_trees import (
    PeakMemory,
    children,
    cpu_seconds,
    resident_bytes,
    tree,
    tree_cpu_seconds,
    tree_resident_bytes,
)

CHILD = """
import time
block = bytearray({megabytes} * 2**20)
end = time.process_time() + {seconds}
while time.process_time() < end: pass
print("done", flush=True)
input()
"""


@pytest.fixture
def family() -> Iterator["subprocess.Popen[str]"]:
    """A process whose child holds 50 MiB and has used 0.2 s of CPU."""
    child = CHILD.format(megabytes=50, seconds=0.2)
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"
    with subprocess.Popen(
        [sys.executable, "-c", parent], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None and process.stdin is not None
        assert process.stdout.readline() == "done\n"
        yield process
        process.stdin.write("\n")


def test_a_tree_is_the_process_and_its_descendants(family: "subprocess.Popen[str]") -> None:
    found = tree(family.pid)
    assert found[0] == family.pid and len(found) == 2
    assert os.getpid() not in found and set(found) <= set(tree(os.getpid()))
    assert children(family.pid) == found[1:] and children(found[1]) == []


def test_cpu_of_descendants_counts(family: "subprocess.Popen[str]") -> None:
    assert 0.2 <= tree_cpu_seconds(family.pid) < 5
    assert cpu_seconds(family.pid) < tree_cpu_seconds(family.pid)


def test_the_clock_is_the_processs_own() -> None:
    before = time.process_time()
    assert before <= cpu_seconds(os.getpid()) <= time.process_time()


def test_peak_memory_is_that_of_all_processes(family: "subprocess.Popen[str]") -> None:
    with PeakMemory(family.pid) as memory:
        pass
    assert memory.peak > 50 * 2**20
    assert memory.peak > resident_bytes(family.pid)
    assert tree_resident_bytes(family.pid) > 50 * 2**20


def test_a_process_that_is_gone_uses_nothing() -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    assert cpu_seconds(gone.pid) == resident_bytes(gone.pid) == 0
    assert tree(gone.pid) == [gone.pid]
