"""Nodes that exist by word only: the real scheduler places pods on them, and their time passes without a kubelet.

Extended resources are numbers to a scheduler, so a node that claims GPUs is all that placement needs. What a kubelet
would report is reported from here: nodes stay ready, a pod that was bound runs for the seconds that its annotation
says and has then succeeded, and a pod that is deleted is gone at once.
"""
# the Kubernetes client is typed in part:
# pyright: reportUnknownMemberType=false, reportMissingTypeStubs=false

import contextlib
import threading
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from kubernetes import client  # type: ignore[import-untyped]
from kubernetes.client.exceptions import ApiException  # type: ignore[import-untyped]

SECONDS: Final = "simulated-seconds"
"""Annotation of a pod: how long it runs once it is placed."""
LABEL: Final = "simulated"
TAINT: Final = "simulated"
"""Keeps the pods of others away from these nodes."""

_PERIOD_SECONDS: Final = 0.1
_LEASE_SECONDS: Final = 8.0
"""How often a node says that it lives; after 40 s of silence its pods would be taken away."""
_ASK_SECONDS: Final = 15.0


@dataclass(frozen=True, kw_only=True)
class FakeNode:
    """A node.

    Attributes:
        name: Its name.
        resources: Extended resources that it claims, by name.
        labels: By which pods choose it.
    """

    name: str
    resources: Mapping[str, int]
    labels: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(kw_only=True)
class Stay:
    """When a pod was where; Unix times, None for what has not happened."""

    node: str
    gpus: int
    began: float
    ended: float | None = None


def _nobody(_run: Mapping[str, str], _phase: str) -> None:
    """Tell nobody what becomes of a pod."""


class FakeNodes:
    """Reports what kubelets would; made by `fake_nodes`.

    Args:
        nodes: That there are to be.
        tell: Takes a pod's labels and its phase, before the phase is reported: what the pod itself would do then.

    Attributes:
        stays: Of the pods that were placed, by uid.
        seconds: How long a pod runs whose annotation does not say it.
    """

    def __init__(
        self, nodes: Sequence[FakeNode], tell: Callable[[Mapping[str, str], str], None] = _nobody
    ) -> None:
        """Begin with no node; see `begin`."""
        self.stays: dict[str, Stay] = {}
        self.seconds = 1.0
        self._tell = tell
        self.failed: Exception | None = None
        self._nodes = {node.name: node for node in nodes}
        self._core: Any = client.CoreV1Api()
        self._leases: Any = client.CoordinationV1Api()
        self._ending = threading.Event()
        self._threads = [threading.Thread(target=work, daemon=True) for work in (self._live, self._run)]

    def begin(self) -> None:
        """Make the nodes."""
        for node in self._nodes.values():
            self._make(node)
        for thread in self._threads:
            thread.start()

    def end(self) -> None:
        """Remove the nodes, as far as they were made; what is on them and their leases go with them."""
        self._ending.set()
        for thread in self._threads:
            if thread.is_alive():
                thread.join(_ASK_SECONDS)
        for name in self._nodes:
            with contextlib.suppress(ApiException):
                self._core.delete_node(name, _request_timeout=_ASK_SECONDS)

    def _make(self, node: FakeNode) -> None:
        made = self._core.create_node(
            {
                "metadata": {"name": node.name, "labels": {**node.labels, LABEL: "true"}},
                "spec": {"taints": [{"key": TAINT, "effect": "NoSchedule"}]},
            },
            _request_timeout=_ASK_SECONDS,
        )
        resources = {"cpu": "1000", "memory": "4000Gi", "ephemeral-storage": "4000Gi", "pods": "1000"}
        resources |= {name: str(count) for name, count in node.resources.items()}
        now = _now()
        ready = {
            "type": "Ready",
            "status": "True",
            "reason": "Simulated",
            "message": "by word only",
            "lastHeartbeatTime": now,
            "lastTransitionTime": now,
        }
        self._core.patch_node_status(
            node.name,
            {"status": {"capacity": resources, "allocatable": resources, "conditions": [ready]}},
            _request_timeout=_ASK_SECONDS,
        )
        self._leases.create_namespaced_lease(
            "kube-node-lease",
            {
                "metadata": {
                    "name": node.name,
                    "ownerReferences": [
                        {"apiVersion": "v1", "kind": "Node", "name": node.name, "uid": made.metadata.uid}
                    ],
                },
                "spec": {"holderIdentity": node.name, "leaseDurationSeconds": 40, "renewTime": _micro()},
            },
            _request_timeout=_ASK_SECONDS,
        )

    def _live(self) -> None:
        while not self._ending.wait(_LEASE_SECONDS):
            for name in self._nodes:
                with contextlib.suppress(Exception):  # the next sign is in time, too
                    self._leases.patch_namespaced_lease(
                        name,
                        "kube-node-lease",
                        {"spec": {"renewTime": _micro()}},
                        _request_timeout=_ASK_SECONDS,
                    )

    def _run(self) -> None:
        try:
            while not self._ending.wait(_PERIOD_SECONDS):
                pods = self._core.list_pod_for_all_namespaces(
                    label_selector=f"{LABEL}=true",
                    field_selector="status.phase!=Succeeded",
                    _request_timeout=_ASK_SECONDS,
                )
                for pod in pods.items:
                    if pod.spec.node_name in self._nodes:
                        self._step(pod)
        except Exception as error:  # told to who waits
            self.failed = error

    def _step(self, pod: Any) -> None:
        uid, now = str(pod.metadata.uid), time.time()
        stay = self.stays.get(uid)
        if pod.metadata.deletion_timestamp is not None:
            self._core.delete_namespaced_pod(
                pod.metadata.name,
                pod.metadata.namespace,
                grace_period_seconds=0,
                _request_timeout=_ASK_SECONDS,
            )
            if stay is not None and stay.ended is None:
                stay.ended = now
        elif stay is None:
            self.stays[uid] = Stay(
                node=str(pod.spec.node_name),
                gpus=_gpus_of(pod),
                began=now,
            )
            self._report(pod, "Running")
        elif stay.ended is None and now - stay.began >= self._length(pod):
            self._report(pod, "Succeeded")
            stay.ended = now

    def _length(self, pod: Any) -> float:
        annotations: Mapping[str, str] = pod.metadata.annotations or {}
        return float(annotations.get(SECONDS, self.seconds))

    def _report(self, pod: Any, phase: str) -> None:
        self._tell(pod.metadata.labels, phase)
        self._core.patch_namespaced_pod_status(
            pod.metadata.name,
            pod.metadata.namespace,
            {"status": {"phase": phase, "startTime": _now()}},
            _request_timeout=_ASK_SECONDS,
        )


@contextlib.contextmanager
def fake_nodes(
    nodes: Sequence[FakeNode], tell: Callable[[Mapping[str, str], str], None] = _nobody
) -> Generator[FakeNodes]:
    """Have nodes for a while, in the cluster of the client's configuration; see `FakeNodes`."""
    made = FakeNodes(nodes, tell)
    try:
        made.begin()
        yield made
    finally:
        made.end()


def _gpus_of(pod: Any) -> int:
    """Return how many devices a pod holds; its sidecars are init containers."""
    containers: list[Any] = [*(pod.spec.init_containers or ()), *pod.spec.containers]
    asked: list[dict[str, str]] = [container.resources.requests or {} for container in containers]
    return sum(int(count) for each in asked for name, count in each.items() if "/" in name)


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _micro() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
