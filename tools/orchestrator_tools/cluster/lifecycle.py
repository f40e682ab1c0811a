"""Brings the test cluster up and down, from outside of its namespaces."""

import contextlib
import fcntl
import os
from collections.abc import Generator
from pathlib import Path
from typing import Final

from orchestrator_tools.cluster.caches import remove
from orchestrator_tools.cluster.cgroups import remove_cgroup
from orchestrator_tools.cluster.commands import ClusterError, run
from orchestrator_tools.cluster.debian import tree_environment, unpacked_packages
from orchestrator_tools.cluster.launch import cached_parts, check_folders, launch
from orchestrator_tools.cluster.places import Places
from orchestrator_tools.cluster.processes import ProcessId, kill_and_wait
from orchestrator_tools.cluster.records import node_process, read_record
from orchestrator_tools.steps import say

STOP_SECONDS: Final = 30.0
PROBE_SECONDS: Final = 10.0
IMPORT_SECONDS: Final = 600.0


def require_root() -> None:
    """Refuse to go on for another user than root.

    Raises:
        ClusterError: With what to do.
    """
    if os.geteuid() != 0:
        raise ClusterError(
            "the test cluster mounts file systems and makes networks: run this as root,"
            " or name a cluster that runs already with KUBECONFIG=path (docs/how-to/use-a-cluster.md)"
        )


def bring_up(places: Places) -> bool:
    """Start the cluster and return when pods can run; return False when it was up already.

    What an earlier start left half done is removed first.

    Raises:
        ClusterError: It cannot be built or started; nothing is left running.
    """
    require_root()
    with _alone(places):
        if is_up(places):
            return False
        if places.ending.is_file():
            say(f"the cluster ended by itself: {places.ending.read_text()}")
        _remove(places)
        check_folders(places)
        parts = cached_parts(places)
        try:
            launch(places, parts)
        except BaseException:
            _remove(places, keep_logs=True)
            raise
    return True


def bring_down(places: Places) -> bool:
    """End the cluster and remove all but the cache; return False when there was none.

    Raises:
        ClusterError: Something of it is left.
    """
    require_root()
    with _alone(places):
        was_there = places.state.exists()
        _remove(places)
    return was_there


def is_up(places: Places) -> bool:
    """Return whether the cluster runs and its API server answers."""
    node = node_process(places)
    if node is None or not places.kubeconfig.is_file():
        return False
    kubectl = (places.programs / "kubectl", f"--kubeconfig={places.kubeconfig}")
    try:
        run([*inside(node), *kubectl, "get", "--raw=/readyz"], seconds=PROBE_SECONDS)
    except ClusterError:
        return False
    return True


def inside(node: ProcessId, *further: str) -> list[str]:
    """Return the words before a command that runs in the cluster's network, and in `further` namespaces of it."""
    return ["nsenter", f"--target={node.pid}", "--net", *further, "--"]


def import_image(places: Places, archive: Path) -> None:
    """Give the running cluster an image, by its archive.

    Raises:
        ClusterError: No cluster runs, or it does not take the archive.
    """
    node = node_process(places)
    if node is None:
        raise ClusterError("the test cluster is not up: run `make cluster-up`")
    ctr = ("ctr", "--namespace=k8s.io", "images", "import", str(archive))
    environment = tree_environment(unpacked_packages(places.cache))
    run([*inside(node, "--mount"), *ctr], seconds=IMPORT_SECONDS, environment=environment)


def _remove(places: Places, *, keep_logs: bool = False) -> None:
    record = read_record(places)
    # the node first: with it, everything in its namespaces ends
    for process in (record.node, record.parent):
        if process is not None and not kill_and_wait(process, STOP_SECONDS):
            raise ClusterError(f"process {process.pid} of the cluster does not end")
    for name, value in record.kernel.items():
        Path("/proc/sys", name).write_text(value)
    remove_cgroup(places.cgroup)
    for path in places.state.iterdir() if places.state.exists() else ():
        if path != places.logs or not keep_logs:
            remove(path)
    if places.state.exists() and not keep_logs:
        places.state.rmdir()


@contextlib.contextmanager
def _alone(places: Places) -> Generator[None]:
    """Let one process at a time change the cluster."""
    places.state.parent.mkdir(parents=True, exist_ok=True)
    folder = os.open(places.state.parent, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)
