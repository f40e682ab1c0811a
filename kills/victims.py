"""Finding the processes of a trial, each by what nobody else has in common with it, and killing them by their ids."""

import os
import signal
import time
from contextlib import suppress
from enum import StrEnum
from pathlib import Path
from typing import Final

_GONE_SECONDS: Final = 10.0


class Victim(StrEnum):
    """What is killed."""

    GUEST = "guest"
    HOST = "host"
    GATEWAY = "gateway"
    DATABASE = "database"


def find(victim: Victim, *, host: int, place: Path) -> list[int]:
    """Return the ids of a trial's processes of one kind.

    Args:
        victim: Which kind.
        host: Process of the run.
        place: Where the guests of this trial have their folders; no other trial's are below it.
    """
    match victim:
        case Victim.DATABASE:
            return []  # its server is killed as a whole, by who has started it
        case Victim.HOST:
            return [host]
        case Victim.GATEWAY:
            return [pid for pid in _children(host) if b"orchestrator_gateway" in _words(pid)]
        case Victim.GUEST:
            mark = os.fsencode(f"TMPDIR={place}/guest-")
            found = [pid for pid in _all() if mark in _environment(pid)]
            return [pid for pid in found if b"guardian.py" not in _words(pid)]


def kill(pids: list[int]) -> list[int]:
    """Kill processes, wait until they are gone, and return those that lived until now."""
    killed: list[int] = []
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
            killed.append(pid)
    until = time.monotonic() + _GONE_SECONDS
    while any(alive(pid) for pid in killed) and time.monotonic() < until:
        time.sleep(0.002)
    return killed


def alive(pid: int) -> bool:
    """Return whether a process runs; one that has ended and was not collected yet does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def _children(pid: int) -> list[int]:
    found: list[int] = []
    with suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            found += map(int, (task / "children").read_text().split())
    return found


def _all() -> list[int]:
    return [int(entry) for entry in os.listdir("/proc") if entry.isdigit()]


def _words(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def _environment(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return b""  # it is gone, or another user's
