"""The processes of the test cluster: their command lines, and how each shows that it is ready."""

from dataclasses import dataclass
from pathlib import Path

from orchestrator_tools.cluster.places import (
    API_PORT,
    CONTAINERD_SOCKET,
    NODE,
    NODE_ADDRESS,
    POD_NETWORK,
    SERVICE_NETWORK,
    VOLUME_PLUGINS,
    Places,
)

ETCD = "http://127.0.0.1:2379"


@dataclass(frozen=True, kw_only=True)
class Component:
    """A process that runs as long as the cluster.

    Attributes:
        name: Of it and of its log.
        command: Program and arguments.
        ready: When it is ready, this URL answers with status 200, or this unix socket takes connections.
    """

    name: str
    command: tuple[str, ...]
    ready: str


def etcd() -> Component:
    """Return the store of the API server; what it holds need not outlive the machine."""
    return Component(
        name="etcd",
        command=(
            "etcd",
            "--data-dir=/var/lib/etcd",
            f"--listen-client-urls={ETCD}",
            f"--advertise-client-urls={ETCD}",
            "--listen-peer-urls=http://127.0.0.1:2380",
            "--unsafe-no-fsync",
        ),
        ready=f"{ETCD}/health",
    )


def containerd(places: Places) -> Component:
    """Return the container runtime."""
    return Component(
        name="containerd",
        command=("containerd", f"--config={places.settings / 'containerd.toml'}"),
        ready=CONTAINERD_SOCKET,
    )


def api_server(kubernetes: Path, places: Places) -> Component:
    """Return the API server; `kubernetes` is the program of all components of Kubernetes."""
    certificates = places.certificates
    return Component(
        name="kube-apiserver",
        command=(
            *(str(kubernetes), "kube-apiserver"),
            f"--etcd-servers={ETCD}",
            "--bind-address=0.0.0.0",
            f"--advertise-address={NODE_ADDRESS}",
            f"--secure-port={API_PORT}",
            f"--tls-cert-file={certificates / 'apiserver.crt'}",
            f"--tls-private-key-file={certificates / 'apiserver.key'}",
            f"--client-ca-file={certificates / 'ca.crt'}",
            f"--kubelet-client-certificate={certificates / 'kubelet-client.crt'}",
            f"--kubelet-client-key={certificates / 'kubelet-client.key'}",
            f"--kubelet-certificate-authority={certificates / 'ca.crt'}",
            # else logs and exec look the node's name up in DNS
            "--kubelet-preferred-address-types=InternalIP",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={certificates / 'accounts.pub'}",
            f"--service-account-signing-key-file={certificates / 'accounts.key'}",
            f"--service-cluster-ip-range={SERVICE_NETWORK}",
            "--authorization-mode=Node,RBAC",
            "--enable-admission-plugins=NodeRestriction",
            "--allow-privileged=true",
        ),
        ready=f"https://127.0.0.1:{API_PORT}/readyz",
    )


def controller_manager(kubernetes: Path, places: Places) -> Component:
    """Return the controllers."""
    certificates = places.certificates
    return Component(
        name="kube-controller-manager",
        command=(
            *(str(kubernetes), "kube-controller-manager"),
            f"--kubeconfig={certificates / 'controller-manager.kubeconfig'}",
            f"--service-account-private-key-file={certificates / 'accounts.key'}",
            f"--root-ca-file={certificates / 'ca.crt'}",
            f"--cluster-signing-cert-file={certificates / 'ca.crt'}",
            f"--cluster-signing-key-file={certificates / 'ca.key'}",
            "--use-service-account-credentials",
            f"--flex-volume-plugin-dir={VOLUME_PLUGINS}",
            "--allocate-node-cidrs=false",
            "--leader-elect=false",
            "--bind-address=127.0.0.1",
        ),
        ready="https://127.0.0.1:10257/healthz",
    )


def scheduler(kubernetes: Path, places: Places) -> Component:
    """Return the scheduler."""
    return Component(
        name="kube-scheduler",
        command=(
            *(str(kubernetes), "kube-scheduler"),
            f"--kubeconfig={places.certificates / 'scheduler.kubeconfig'}",
            "--leader-elect=false",
            "--bind-address=127.0.0.1",
        ),
        ready="https://127.0.0.1:10259/healthz",
    )


def kubelet(kubernetes: Path, places: Places) -> Component:
    """Return the node's agent."""
    return Component(
        name="kubelet",
        command=(
            *(str(kubernetes), "kubelet"),
            f"--config={places.settings / 'kubelet.json'}",
            f"--kubeconfig={places.certificates / 'kubelet.kubeconfig'}",
            f"--hostname-override={NODE}",
            f"--node-ip={NODE_ADDRESS}",
        ),
        ready="http://127.0.0.1:10248/healthz",
    )


def proxy(kubernetes: Path, places: Places) -> Component:
    """Return what makes services' addresses work."""
    return Component(
        name="kube-proxy",
        command=(
            *(str(kubernetes), "kube-proxy"),
            f"--kubeconfig={places.certificates / 'proxy.kubeconfig'}",
            f"--hostname-override={NODE}",
            "--proxy-mode=iptables",
            f"--cluster-cidr={POD_NETWORK}",
            "--conntrack-max-per-core=0",  # the machine's own bound stays
        ),
        ready="http://127.0.0.1:10256/healthz",
    )


def policies(kube_router: Path, places: Places) -> Component:
    """Return what enforces network policies; it needs the node's object."""
    return Component(
        name="kube-router",
        command=(
            str(kube_router),
            f"--kubeconfig={places.certificates / 'admin.kubeconfig'}",
            f"--hostname-override={NODE}",
            f"--service-cluster-ip-range={SERVICE_NETWORK}",
            "--run-firewall=true",
            "--run-router=false",
            "--run-service-proxy=false",
        ),
        ready="http://127.0.0.1:20244/healthz",
    )
