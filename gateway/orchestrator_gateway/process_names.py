"""Names of processes of one machine, by which others of it see that they are gone."""

import contextlib
import os
import platform
from pathlib import Path


def own_name() -> str:
    """Return the name of this process: of its place, where process ids mean the same, and its id there."""
    return f"{_place()}:{os.getpid()}"


def is_gone(name: str) -> bool:
    """Return whether a process has ended for sure; False when that cannot be seen from here."""
    place, _, pid = name.rpartition(":")
    if place != _place():
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    with contextlib.suppress(OSError, IndexError):  # one that ended and that its parent has not noticed yet
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    return False


def _place() -> str:
    """Return what tells this set of process ids from others, such as those of a container or of before a restart."""
    with contextlib.suppress(OSError):
        started = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{started}/{os.readlink('/proc/self/ns/pid')}"
    return platform.node()
