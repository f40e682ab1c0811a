"""What tests see of processes from outside; Linux."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

_SECONDS: Final = 30.0


def alive(pid: int) -> bool:
    """Return whether a process runs; one that has ended and that nobody has collected yet does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def parent(pid: int) -> int:
    """Return the process that a process is a child of."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def wait_until(condition: Callable[[], bool], what: str) -> None:
    """Wait until something is so; fail the test after half a minute."""
    until = time.monotonic() + _SECONDS
    while not condition():
        assert time.monotonic() < until, f"not within {_SECONDS} s: {what}"
        time.sleep(0.01)


def entries(folder: Path) -> set[Path]:
    """Return what is in a folder, but what is only in the making; nothing when it is not there."""
    found = folder.iterdir() if folder.exists() else ()
    return {path for path in found if not path.name.startswith(".")}
