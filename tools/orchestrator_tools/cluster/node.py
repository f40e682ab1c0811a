"""The first process of the cluster: makes its mounts and its network, starts its components and watches them.

Started by `lifecycle.py` in namespaces of its own (mounts, network, processes). What it mounts and starts is gone when
it ends, however it ends.
"""

import argparse
import json
import os
import sys
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from orchestrator_tools.cluster import components
from orchestrator_tools.cluster.commands import ClusterError, run
from orchestrator_tools.cluster.node_disks import mount_disk
from orchestrator_tools.cluster.places import (
    CONTAINERD_SOCKET,
    KUBELET_FOLDER,
    NODE,
    NODE_ADDRESS,
    SERVICE_NETWORK,
    Places,
)
from orchestrator_tools.cluster.supervision import StopRequested, Supervisor

COMMAND_SECONDS: Final = 30.0
IMPORT_SECONDS: Final = 180.0
READY_SECONDS: Final = 120.0

_ROUTED: Final = {"net/ipv4/ip_forward": "1", "net/bridge/bridge-nf-call-iptables": "1"}
"""Pods reach each other through the node, and what passes its bridge meets the rules of network policies."""


@dataclass(frozen=True, kw_only=True)
class Parts:
    """What the cluster is made of.

    Attributes:
        kubernetes: The program of all components of Kubernetes, also of kubectl.
        kube_router: The program that enforces network policies.
        images: Archives of the images that the cluster itself needs.
        manifest: A file of the objects that the cluster itself needs.
        environment: All variables of the components.
    """

    kubernetes: Path
    kube_router: Path
    images: tuple[Path, ...]
    manifest: Path
    environment: Mapping[str, str]


def network_batch() -> str:
    """Return what `ip -batch` makes of an empty network: a bridge with the node's address and no way out."""
    return "\n".join(
        (
            "link set lo up",
            "link add cni0 type bridge",
            f"address add {NODE_ADDRESS}/24 dev cni0",
            "link set cni0 up",
            # a bridge is up only while something is connected to it
            "link add anchor type veth peer name anchor-peer",
            "link set anchor master cni0",
            "link set anchor up",
            "link set anchor-peer up",
            # the node itself reaches services, too; kube-proxy takes it from there
            f"route add {SERVICE_NETWORK} dev cni0",
            "",
        )
    )


def make_mounts(places: Places, environment: Mapping[str, str]) -> str | None:
    """Give the node folders of its own where components insist on a path, and let its mounts reach its containers.

    Returns:
        Why the node has no disk of its own; None where it has one.
    """
    run(["mount", "--make-rshared", "/"], seconds=COMMAND_SECONDS)
    run(["mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", "/run"], seconds=COMMAND_SECONDS)
    for seen, kept in places.own_folders.items():
        kept.mkdir(parents=True, exist_ok=True)
        run(["mount", "--bind", kept, seen], seconds=COMMAND_SECONDS)
    Path(CONTAINERD_SOCKET).parent.mkdir(parents=True)
    return mount_disk(places.disk, Path(KUBELET_FOLDER), environment)


def make_network(environment: Mapping[str, str]) -> None:
    """Make the node's network in the empty one that this process is in."""
    run(["ip", "-batch", "-"], seconds=COMMAND_SECONDS, environment=environment, text=network_batch())
    for name, value in _ROUTED.items():
        try:
            Path("/proc/sys", name).write_text(value)
        except OSError as error:
            raise ClusterError(
                f"/proc/sys/{name} cannot be set: {error}; the kernel's br_netfilter is needed"
            ) from error


def start_components(
    supervisor: Supervisor, places: Places, parts: Parts, say: Callable[[str], None]
) -> None:
    """Start everything in order; return when pods can run and names resolve."""
    program = parts.kubernetes
    kubectl = (str(program), "kubectl", f"--kubeconfig={places.kubeconfig}")
    say("starting etcd and containerd")
    supervisor.start(components.etcd(), components.containerd(places))
    say("starting the control plane")
    supervisor.start(components.api_server(program, places))
    supervisor.start(
        components.controller_manager(program, places),
        components.scheduler(program, places),
        components.kubelet(program, places),
        components.proxy(program, places),
    )
    say("importing the cluster's own images")
    for image in parts.images:
        words = (
            "ctr",
            f"--address={CONTAINERD_SOCKET}",
            "--namespace=k8s.io",
            "images",
            "import",
            str(image),
        )
        supervisor.run(f"import-{image.stem}", words, IMPORT_SECONDS)
    say("starting network policies and DNS")
    wait = ("wait", f"--timeout={READY_SECONDS:.0f}s", f"node/{NODE}")
    supervisor.run("node-registered", (*kubectl, *wait, "--for=create"), READY_SECONDS)
    supervisor.start(components.policies(parts.kube_router, places))
    supervisor.run("dns-apply", (*kubectl, "apply", f"--filename={parts.manifest}"), READY_SECONDS)
    supervisor.run("node-ready", (*kubectl, *wait, "--for=condition=Ready"), READY_SECONDS)
    rollout = ("rollout", "status", "--namespace=kube-system", "deployment/coredns")
    supervisor.run("dns-ready", (*kubectl, *rollout, f"--timeout={READY_SECONDS:.0f}s"), READY_SECONDS + 5)


def read_parts(text: str) -> Parts:
    """Return what `parts_text` wrote."""
    told: dict[str, Any] = json.loads(text)
    return Parts(
        kubernetes=Path(told["kubernetes"]),
        kube_router=Path(told["kube_router"]),
        images=tuple(Path(image) for image in told["images"]),
        manifest=Path(told["manifest"]),
        environment=told["environment"],
    )


def parts_text(parts: Parts) -> str:
    """Return the parts as text for the node's process."""
    return json.dumps(
        {
            "kubernetes": str(parts.kubernetes),
            "kube_router": str(parts.kube_router),
            "images": [str(image) for image in parts.images],
            "manifest": str(parts.manifest),
            "environment": dict(parts.environment),
        }
    )


def main() -> int:
    """Run the node until a component dies or SIGTERM comes.

    What happens until the cluster is ready is told by lines of JSON to a pipe: `say`, then `ready` or `error`.
    """
    parser = argparse.ArgumentParser(prog="orchestrator_tools.cluster.node", description=__doc__)
    parser.add_argument("--state", type=Path, required=True)
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--report", type=int, required=True, help="descriptor of the pipe")
    options = parser.parse_args()
    places = Places(cache=options.cache, state=options.state)
    parts = read_parts(places.parts.read_text())
    report = os.fdopen(options.report, "w")

    def tell(**what: object) -> None:
        print(json.dumps(what), file=report, flush=True)

    try:
        supervisor = Supervisor(places.logs, parts.environment)
        diskless = make_mounts(places, parts.environment)
        if diskless is not None:
            tell(say=f"pods write to the machine's disk, and no test can fill it: {diskless}")
        make_network(parts.environment)
        start_components(supervisor, places, parts, lambda text: tell(say=text))
        tell(ready=True)
        report.close()
        supervisor.watch()
    except StopRequested:
        return 0
    except Exception as error:  # the boundary of the process
        text = str(error) if isinstance(error, ClusterError) else traceback.format_exc()
        places.ending.write_text(text)
        if not report.closed:
            tell(error=text)
        return 1


if __name__ == "__main__":
    sys.exit(main())
