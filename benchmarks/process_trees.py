"""What a process and everything below it uses, read from /proc: Linux only."""

import os
import threading
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Final, Self

SAMPLE_SECONDS: Final = 0.2

_PAGE: Final = os.sysconf("SC_PAGE_SIZE")


def tree(root: int) -> list[int]:
    """Return the ids of a process and of all its descendants that live now."""
    families = _families()
    found = [root]
    for process in found:
        found += families.get(process, [])
    return found


def children(root: int) -> list[int]:
    """Return the ids of the processes that a process started and that live now."""
    return _families().get(root, [])


def _families() -> dict[int, list[int]]:
    """Return the children of every process that has some."""
    found: dict[int, list[int]] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            with suppress(OSError):
                # the name, in parentheses, may hold anything; the parent is the second field after it
                parent = int(Path(f"/proc/{entry}/stat").read_text().rpartition(")")[2].split()[1])
                found.setdefault(parent, []).append(int(entry))
    return found


def cpu_seconds(process: int) -> float:
    """Return the CPU time of a process, all threads, in the kernel and outside of it; 0 when it is gone."""
    try:
        # the number of a process's CPU clock, as clock_getcpuclockid(3) makes it; /proc/ID/stat counts in 10 ms only
        return time.clock_gettime((~process << 3) | 2)
    except OSError:
        return 0.0


def tree_cpu_seconds(root: int) -> float:
    """Return the CPU time of every process of a tree that lives now."""
    return sum(map(cpu_seconds, tree(root)))


def resident_bytes(process: int) -> int:
    """Return the resident memory of a process; 0 when it is gone."""
    try:
        return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * _PAGE
    except (OSError, IndexError):
        return 0


def tree_resident_bytes(root: int) -> int:
    """Return the resident memory of every process of a tree; pages that processes share count for each of them."""
    return sum(map(resident_bytes, tree(root)))


class PeakMemory:
    """Samples the resident memory of a tree while it is entered; see `tree_resident_bytes`.

    Attributes:
        peak: The largest sum that was seen, in bytes.
    """

    def __init__(self, root: int) -> None:
        """Watch `root` and what is below it."""
        self.peak = 0
        self._root = root
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="peak-memory", daemon=True)

    def __enter__(self) -> Self:
        """Begin to sample."""
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Sample a last time."""
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        last = False
        while not last:
            last = self._ended.wait(SAMPLE_SECONDS)
            self.peak = max(self.peak, tree_resident_bytes(self._root))
