"""The cgroup of all pods of one test cluster: the kubelet fills it, and here it is made and removed."""

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from orchestrator_tools.cluster.commands import ClusterError

REMOVE_SECONDS: Final = 10.0
"""The kernel may take a moment to let go of a cgroup whose last process has ended."""

_CONTROLLERS: Final = frozenset({"cpu", "cpuset", "hugetlb", "memory", "pids"})
_KINDS: Final = frozenset({"cgroup", "cgroup2"})


def hierarchies(mounts: str) -> Iterator[Path]:
    """Yield where the hierarchies of cgroups are in the text of `/proc/self/mounts`."""
    for line in mounts.splitlines():
        words = line.split()
        if len(words) > 2 and words[2] in _KINDS:
            yield Path(words[1])


def make_cgroup(name: str) -> None:
    """Make a cgroup in every hierarchy.

    Raises:
        ClusterError: The system does not allow it.
    """
    for hierarchy in _hierarchies():
        try:
            hand_down_controllers(hierarchy)
            (hierarchy / name).mkdir(exist_ok=True)
        except OSError as error:
            raise ClusterError(f"no cgroup for pods can be made: {error}") from error


def hand_down_controllers(hierarchy: Path) -> None:
    """Let cgroups below the root of a hierarchy of version 2 have the controllers that a kubelet insists on."""
    offered = hierarchy / "cgroup.controllers"
    if not offered.is_file():
        return  # version 1: a hierarchy is its controller
    handed = hierarchy / "cgroup.subtree_control"
    missing = _CONTROLLERS & set(offered.read_text().split()) - set(handed.read_text().split())
    if missing:
        handed.write_text(" ".join(f"+{name}" for name in sorted(missing)))


def remove_cgroup(name: str) -> None:
    """Remove a cgroup with all below it; its processes have ended.

    Raises:
        ClusterError: One of them is still in use.
    """
    until = time.monotonic() + REMOVE_SECONDS
    for hierarchy in _hierarchies():
        while (left := _try_to_remove(hierarchy / name)) is not None:
            if time.monotonic() > until:
                raise ClusterError(
                    f"the cgroup {left} is still in use: end the processes in its cgroup.procs"
                )
            time.sleep(0.05)  # nothing tells when the kernel has let go


def _hierarchies() -> list[Path]:
    return list(hierarchies(Path("/proc/self/mounts").read_text()))


def _try_to_remove(cgroup: Path) -> Path | None:
    """Remove what can be removed, from below; return one that cannot, None when all are gone."""
    for folder in sorted((path for path in cgroup.rglob("*") if path.is_dir()), reverse=True):
        with contextlib.suppress(OSError):
            folder.rmdir()
    with contextlib.suppress(OSError):
        cgroup.rmdir()
    return cgroup if cgroup.exists() else None
