"""Processes by id, told from later ones that got the same id."""

import os
import select
import signal
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class ProcessId:
    """A process of this machine.

    Attributes:
        pid: Its number.
        started: When it began, in ticks since the machine started: no later process has both.
    """

    pid: int
    started: int


def identify(pid: int) -> ProcessId | None:
    """Return a running process by its number; None when there is none."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if stat[0] == "Z" else ProcessId(pid=pid, started=int(stat[19]))


def is_running(process: ProcessId) -> bool:
    """Return whether this very process runs."""
    return identify(process.pid) == process


def only_child(pid: int) -> int | None:
    """Return the number of the one child of a process; None when it has none."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return None
    return int(children[0]) if children else None


def kill_and_wait(process: ProcessId, seconds: float) -> bool:
    """Kill a process and return whether it has ended, all its children of a PID namespace included.

    Args:
        process: Nothing happens if it has ended before.
        seconds: How long the end may take.
    """
    try:
        descriptor = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return True
    try:
        if not is_running(process):
            return True
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(descriptor, signal.SIGKILL)
        return bool(select.select([descriptor], [], [], seconds)[0])
    finally:
        os.close(descriptor)
