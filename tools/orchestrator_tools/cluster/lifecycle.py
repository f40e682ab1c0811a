"""Brings the test cluster up and down, from outside of its namespaces."""

import contextlib
import fcntl
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import Any, Final

from orchestrator_tools.cluster.certificates import write_certificates
from orchestrator_tools.cluster.cgroups import make_cgroup, remove_cgroup
from orchestrator_tools.cluster.commands import ClusterError, run, tail
from orchestrator_tools.cluster.debian import tree_environment, unpacked_packages
from orchestrator_tools.cluster.go_programs import KUBE_ROUTER, KUBERNETES, PROGRAMS, built_program
from orchestrator_tools.cluster.images import DNS_IMAGE, cluster_images
from orchestrator_tools.cluster.manifests import dns_objects
from orchestrator_tools.cluster.node import Parts, parts_text
from orchestrator_tools.cluster.places import Places
from orchestrator_tools.cluster.processes import ProcessId, identify, is_running, kill_and_wait, only_child
from orchestrator_tools.cluster.settings import settings_files
from orchestrator_tools.steps import CHECKOUT, say

START_SECONDS: Final = 600.0
STOP_SECONDS: Final = 30.0
PROBE_SECONDS: Final = 10.0

KERNEL_SETTINGS: Final = (
    "kernel/keys/root_maxbytes",
    "kernel/keys/root_maxkeys",
    "kernel/panic",
    "kernel/panic_on_oops",
    "vm/overcommit_memory",
    "vm/panic_on_oom",
)
"""Settings of the whole machine that a kubelet changes; they are put back when the cluster goes."""

_NAMESPACES: Final = ("--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc")


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
        parts = _parts(places)
        try:
            _start(places, parts)
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
    try:
        run([*inside(node), *kubectl(places), "get", "--raw=/readyz"], seconds=PROBE_SECONDS)
    except ClusterError:
        return False
    return True


def node_process(places: Places) -> ProcessId | None:
    """Return the first process of the running cluster; None when there is none."""
    told = _record(places)
    node = ProcessId(**told["node"]) if "node" in told else None
    return node if node is not None and is_running(node) else None


def inside(node: ProcessId, *further: str) -> list[str]:
    """Return the words before a command that runs in the cluster's network, and in `further` namespaces of it."""
    return ["nsenter", f"--target={node.pid}", "--net", *further, "--"]


def kubectl(places: Places) -> list[str]:
    """Return the words of kubectl, of the cluster's own version."""
    return [str(places.programs / "kubectl"), f"--kubeconfig={places.kubeconfig}"]


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
    run([*inside(node, "--mount"), *ctr], seconds=START_SECONDS, environment=environment)


def _parts(places: Places) -> Parts:
    """Build and download what is missing in the cache."""
    places.cache.mkdir(parents=True, exist_ok=True)
    tree = unpacked_packages(places.cache)
    programs = {program: built_program(program, places.cache) for program in PROGRAMS}
    return Parts(
        kubernetes=programs[KUBERNETES],
        kube_router=programs[KUBE_ROUTER],
        images=cluster_images(places.cache),
        manifest=places.settings / "dns.json",
        environment={**tree_environment(tree), "HOME": "/run"},
    )


def kernel_settings() -> dict[str, str]:
    """Return the settings of the machine that a kubelet changes, of those that this kernel has."""
    files = {name: Path("/proc/sys", name) for name in KERNEL_SETTINGS}
    return {name: file.read_text() for name, file in files.items() if file.is_file()}


def check_folders(places: Places) -> None:
    """Refuse to start from folders that the node would not see.

    Raises:
        ClusterError: With the folder.
    """
    hidden = [*places.own_folders, Path("/run")]
    for folder in (CHECKOUT, places.cache, Path(sys.prefix), Path(sys.base_prefix)):
        for own in hidden:
            if folder.resolve().is_relative_to(own):
                raise ClusterError(
                    f"{folder} lies below {own}, of which the cluster has one of its own: move it"
                )


def _start(places: Places, parts: Parts) -> None:
    tree = unpacked_packages(places.cache)
    for path, text in settings_files(places, tree / "usr" / "lib" / "cni").items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    parts.manifest.write_text(json.dumps(dns_objects(DNS_IMAGE)))
    told_parts = places.settings / "parts.json"
    told_parts.write_text(parts_text(parts))
    places.logs.mkdir(parents=True, exist_ok=True)
    write_certificates(places.certificates)
    shutil.copy(places.certificates / "admin.kubeconfig", places.kubeconfig)
    places.programs.mkdir()
    (places.programs / "kubectl").symlink_to(parts.kubernetes)
    _load_bridge_filter()
    kernel = kernel_settings()
    _write_record(places, kernel=kernel)
    make_cgroup(places.cgroup)
    with _node_process(places, told_parts) as (process, report):
        _write_record(places, kernel=kernel, parent=_told(process.pid))
        _follow(process, report, places, kernel)


@contextlib.contextmanager
def _node_process(places: Places, parts: Path) -> Generator[tuple[subprocess.Popen[bytes], int]]:
    """Start the node in namespaces of its own; yield what waits for it, and the pipe of its reports."""
    reading, writing = os.pipe()
    try:
        with (places.logs / "node.log").open("ab") as log:
            process = subprocess.Popen(
                [
                    *("unshare", *_NAMESPACES, sys.executable, "-m", "orchestrator_tools.cluster.node"),
                    *(f"--state={places.state}", f"--cache={places.cache}"),
                    *(f"--parts={parts}", f"--report={writing}"),
                ],
                env={**os.environ, "PYTHONPATH": str(CHECKOUT / "tools")},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=(writing,),
                start_new_session=True,
            )
    except BaseException:
        os.close(reading)
        raise
    finally:
        os.close(writing)
    timer = threading.Timer(START_SECONDS, process.kill)
    timer.start()
    try:
        yield process, reading
    finally:
        timer.cancel()
        os.close(reading)


def _follow(process: subprocess.Popen[bytes], report: int, places: Places, kernel: Mapping[str, str]) -> None:
    """Record who runs, show what the node tells, and return when it is ready."""
    with os.fdopen(os.dup(report)) as lines:
        for line in lines:
            node = _told(only_child(process.pid))
            _write_record(places, kernel=kernel, parent=_told(process.pid), node=node)
            told: dict[str, Any] = json.loads(line)
            if "error" in told:
                raise ClusterError(f"{told['error']}all logs: {places.logs}")
            if told.get("ready"):
                return
            say(told["say"])
    log = (places.logs / "node.log").read_text(errors="replace")
    raise ClusterError(
        f"the node's first process ended; its log ends with\n{tail(log)}all logs: {places.logs}"
    )


def _told(pid: int | None) -> dict[str, int] | None:
    found = None if pid is None else identify(pid)
    return None if found is None else {"pid": found.pid, "started": found.started}


def _record(places: Places) -> dict[str, Any]:
    try:
        told: dict[str, Any] = json.loads(places.record.read_text())
    except (OSError, ValueError):
        return {}
    return {key: value for key, value in told.items() if value is not None}


def _write_record(places: Places, **told: object) -> None:
    new = places.record.with_suffix(".new")
    new.write_text(json.dumps(told))
    new.rename(places.record)


def _remove(places: Places, *, keep_logs: bool = False) -> None:
    told = _record(places)
    # the node first: with it, everything in its namespaces ends
    for name in ("node", "parent"):
        if name in told and not kill_and_wait(ProcessId(**told[name]), STOP_SECONDS):
            raise ClusterError(f"process {told[name]['pid']} of the cluster does not end")
    for name, value in told.get("kernel", {}).items():
        Path("/proc/sys", name).write_text(value)
    remove_cgroup(places.cgroup)
    if not keep_logs:
        if places.state.exists():
            shutil.rmtree(places.state)
        return
    for path in places.state.iterdir() if places.state.exists() else ():
        if path != places.logs:
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def _load_bridge_filter() -> None:
    """Load the module that lets bridged packets meet firewall rules; nothing loads it by itself."""
    if not Path("/proc/sys/net/bridge").is_dir() and shutil.which("modprobe"):
        run(["modprobe", "br_netfilter"], seconds=PROBE_SECONDS)


@contextlib.contextmanager
def _alone(places: Places) -> Generator[None]:
    """Let one process at a time change the cluster."""
    lock = places.state.with_suffix(".lock")
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
