"""Starts the node of the test cluster from an empty state, and waits until pods can run."""

import dataclasses
import json
import os
import select
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from orchestrator_tools.cluster.certificates import write_certificates
from orchestrator_tools.cluster.cgroups import make_cgroup
from orchestrator_tools.cluster.commands import ClusterError, run, tail
from orchestrator_tools.cluster.debian import tree_environment, unpacked_packages
from orchestrator_tools.cluster.go_programs import KUBE_ROUTER, KUBERNETES, PROGRAMS, built_program
from orchestrator_tools.cluster.images import DNS_IMAGE, cluster_images
from orchestrator_tools.cluster.manifests import dns_objects
from orchestrator_tools.cluster.node import Parts, parts_text
from orchestrator_tools.cluster.places import Places
from orchestrator_tools.cluster.processes import identify, only_child
from orchestrator_tools.cluster.records import Record, kernel_settings, write_record
from orchestrator_tools.cluster.settings import settings_files
from orchestrator_tools.steps import CHECKOUT, say

START_SECONDS: Final = 600.0
MODULE_SECONDS: Final = 30.0

_NAMESPACES: Final = ("--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc")
_REPORT: Final = 3
"""The descriptor that the node reports to."""


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


def cached_parts(places: Places) -> Parts:
    """Return what the cluster is made of; build and download what is missing in the cache.

    Raises:
        ClusterError: Something cannot be had.
    """
    tree = unpacked_packages(places.cache)
    programs = {program: built_program(program, places.cache) for program in PROGRAMS}
    return Parts(
        kubernetes=programs[KUBERNETES],
        kube_router=programs[KUBE_ROUTER],
        images=cluster_images(places.cache),
        manifest=places.settings / "dns.json",
        environment={**tree_environment(tree), "HOME": "/run"},
    )


def launch(places: Places, parts: Parts) -> None:
    """Start the node and return when pods can run.

    Raises:
        ClusterError: It is not ready; the caller removes what there is of it.
    """
    _write_files(places, parts)
    if not Path("/proc/sys/net/bridge").is_dir() and shutil.which("modprobe"):
        # bridged packets meet firewall rules with it; nothing loads it by itself
        run(["modprobe", "br_netfilter"], seconds=MODULE_SECONDS)
    record = Record(kernel=kernel_settings())
    write_record(places, record)
    make_cgroup(places.cgroup)
    reading, writing = os.pipe()
    try:
        try:
            parent = _start_node(places, writing)
        finally:
            os.close(writing)  # so that the pipe ends with the node
        record = dataclasses.replace(record, parent=identify(parent))
        write_record(places, record)
        _follow(parent, reading, places, record)
    finally:
        os.close(reading)


def _write_files(places: Places, parts: Parts) -> None:
    """Write all that components read, and the administrator's kubeconfig and kubectl."""
    plugins = unpacked_packages(places.cache) / "usr" / "lib" / "cni"
    for path, text in settings_files(places, plugins).items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    parts.manifest.write_text(json.dumps(dns_objects(DNS_IMAGE)))
    places.parts.write_text(parts_text(parts))
    write_certificates(places.certificates)
    shutil.copy(places.certificates / "admin.kubeconfig", places.kubeconfig)
    for folder in (places.logs, places.programs):
        folder.mkdir()
    (places.programs / "kubectl").symlink_to(parts.kubernetes)


def _start_node(places: Places, report: int) -> int:
    """Start the node in namespaces of its own; return the number of its parent, which only waits for it."""
    log = os.open(places.logs / "node.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    null = os.open(os.devnull, os.O_RDONLY)
    words = [
        *("unshare", *_NAMESPACES, sys.executable, "-m", "orchestrator_tools.cluster.node"),
        *(f"--state={places.state}", f"--cache={places.cache}", f"--report={_REPORT}"),
    ]
    try:
        # no Popen: the node outlives this process
        return os.posix_spawnp(
            words[0],
            words,
            {**os.environ, "PYTHONPATH": str(CHECKOUT / "tools")},
            file_actions=[
                (os.POSIX_SPAWN_DUP2, null, 0),
                (os.POSIX_SPAWN_DUP2, log, 1),
                (os.POSIX_SPAWN_DUP2, log, 2),
                (os.POSIX_SPAWN_DUP2, report, _REPORT),
            ],
            setsid=True,
        )
    finally:
        os.close(log)
        os.close(null)


def _follow(parent: int, report: int, places: Places, record: Record) -> None:
    """Record who runs, show what the node tells, and return when it is ready."""
    for line in _lines(report):
        if record.node is None and (node := only_child(parent)) is not None:
            record = dataclasses.replace(record, node=identify(node))
            write_record(places, record)
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


def _lines(pipe: int) -> Iterator[bytes]:
    """Yield the lines that come through a pipe until it ends.

    Raises:
        ClusterError: The time for a start is over.
    """
    until = time.monotonic() + START_SECONDS
    left = b""
    while select.select([pipe], [], [], max(until - time.monotonic(), 0))[0]:
        if not (block := os.read(pipe, 65_536)):
            return
        *lines, left = (left + block).split(b"\n")
        yield from lines
    raise ClusterError(f"the cluster is not up after {START_SECONDS:.0f} s")
