"""What there is on a cluster: objects, rows of its database, and on a node of ours all that a pod may leave."""

import json
import subprocess
import sys
from collections.abc import Mapping
from typing import Any, Final

from sqlalchemy import create_engine, inspect, text

from orchestrator_tools.cluster.debian import tree_environment, unpacked_packages
from orchestrator_tools.cluster.lifecycle import inside
from orchestrator_tools.cluster.places import places
from orchestrator_tools.cluster.records import node_process
from tests.e2e.kubectl import Namespace

Counts = Mapping[str, int]

KINDS: Final = (
    *("jobs", "pods", "secrets", "configmaps", "persistentvolumeclaims", "services", "endpointslices"),
    *("serviceaccounts", "deployments", "replicasets", "leases", "networkpolicies"),
)
_NODE_SECONDS: Final = 60

_LOOK: Final = r"""
import collections, glob, json, os, subprocess
def lines(*words):
    return len(subprocess.run(words, capture_output=True, text=True, check=True).stdout.splitlines())
def file_lines(path, words=""):
    with open(path) as told:
        return sum(words in line for line in told)
def files(pattern):
    return len(glob.glob(pattern, recursive=True))
ctr = ("ctr", "--namespace=k8s.io")
left = {
    "containers": lines(*ctr, "containers", "list", "--quiet"),
    "tasks of containers": lines(*ctr, "tasks", "list", "--quiet"),
    "snapshots": lines(*ctr, "snapshots", "list"),
    "folders of pods": files("/var/lib/kubelet/pods/*"),
    "folders of logs": files("/var/log/pods/*"),
    "links to logs": files("/var/log/containers/*"),
    "addresses of pods": files("/var/lib/cni/networks/*/[0-9]*"),
    "network namespaces": files("/run/netns/*"),
    "mounts": file_lines("/proc/self/mountinfo"),
    "network interfaces": file_lines("/proc/net/dev"),
    "unix sockets": file_lines("/proc/net/unix"),
    "rules of iptables": lines("iptables-save"),
    "cgroups of pods": files("/sys/fs/cgroup/memory/orchestrator-*/**/pod*/")
    or files("/sys/fs/cgroup/orchestrator-*/**/pod*/"),
}
programs = {
    "dagster-daemon": "Dagster's daemon", "run_watch": "run watch", "dagster-webserver": "web server",
    "orchestrator_gateway": "gateways", "containerd-shim": "shims of containers", "kubelet": "kubelet",
    "kube-apiserver": "API server", "kube-controller-manager": "controllers", "kube-scheduler": "scheduler",
    "etcd": "etcd", "kube-router": "kube-router", " api grpc ": "code servers",
    "postgres": "PostgreSQL", "containerd": "containerd", "kube-proxy": "kube-proxy",
}
processes, memory, descriptors = 0, collections.Counter(), collections.Counter()
for folder in glob.glob("/proc/[0-9]*"):
    if folder == f"/proc/{os.getpid()}":
        continue  # its own words name all programs
    try:
        words = open(folder + "/cmdline").read().split("\0")
        size = int(open(folder + "/statm").read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        held = len(os.listdir(folder + "/fd"))
    except OSError:
        continue
    processes += bool(words[0])
    said = " ".join(words[:6])
    for program, name in programs.items():
        if program in said:
            memory[name] += size
            descriptors[name] += held
            break
left["processes"] = processes
print(json.dumps({"left": left, "memory": memory, "descriptors": descriptors}))
"""


def objects(*namespaces: Namespace) -> dict[str, int]:
    """Return how many objects of each kind there are in namespaces; events are told and forgotten by the cluster."""
    found = dict.fromkeys(KINDS, 0)
    for namespace in namespaces:
        for kind in KINDS:
            found[kind] += len(namespace.ask("get", kind, "--output=name").splitlines())
    return found


def rows(database: str) -> dict[str, int]:
    """Return how many rows each table of a database has, whose tables have simple names."""
    engine = create_engine(database)
    try:
        with engine.connect() as connection:
            names = inspect(connection).get_table_names()
            return {
                name: int(connection.execute(text(f'SELECT count(*) FROM "{name}"')).scalar_one())
                for name in names
            }
    finally:
        engine.dispose()


def node() -> dict[str, dict[str, int]] | None:
    """Return what is on the node of the test cluster: `left`, and `memory` (bytes) and `descriptors` of programs.

    None on another cluster, whose nodes cannot be looked at.
    """
    process = node_process(places())
    if process is None:
        return None
    environment = tree_environment(unpacked_packages(places().cache))
    words = [*inside(process, "--mount", "--pid"), sys.executable, "-c", _LOOK]
    done = subprocess.run(
        words, capture_output=True, text=True, env=environment, timeout=_NODE_SECONDS, check=True
    )
    told: Any = json.loads(done.stdout)
    return {part: dict(told[part]) for part in ("left", "memory", "descriptors")}
