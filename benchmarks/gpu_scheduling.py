"""How busy a cluster's real scheduler keeps GPUs that nodes claim to have, with runs of several tenants.

`python -m benchmarks.gpu_scheduling` needs the `KUBECONFIG` of a cluster, such as that of `make cluster-up`, and rights
to make nodes. The pods are those that the run launcher makes; only their time is simulated.
"""
# the Kubernetes client is typed in part:
# pyright: reportUnknownMemberType=false, reportMissingTypeStubs=false

import collections
import contextlib
import random
import secrets
import sys
import time
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median, quantiles
from typing import Any, Final

from kubernetes import client, config  # type: ignore[import-untyped]
from kubernetes.client.exceptions import ApiException  # type: ignore[import-untyped]

from benchmarks.fake_nodes import LABEL, SECONDS, TAINT, FakeNode, FakeNodes, Stay, fake_nodes
from benchmarks.machine import describe_machine
from benchmarks.outcomes import Cell, Outcome, markdown
from orchestrator_cluster.bindings import GpuType, LocationBinding, Toleration
from orchestrator_cluster.pods import run_pod
from orchestrator_resources.agent_needs import AgentNeed
from orchestrator_resources.gpus import GpuRequest

SEED: Final = 7
TENANTS: Final = ("amber", "birch", "coral", "delta")
NODES: Final = 4
GPUS_OF_NODE: Final = 8
QUOTA: Final = 16
"""Whole GPUs that a tenant may have at once: together twice what there are."""
WAITING: Final = 12
"""Most runs of a tenant on the cluster, placed or not; the others wait where Dagster queues them."""
RUNS: Final = 60
"""Of each tenant."""
TARGET: Final = 0.8

_ASK_SECONDS: Final = 15.0
_LIMIT_SECONDS: Final = 900.0
_TAINTED: Final = (Toleration(key=TAINT, effect="NoSchedule"),)


def kinds(mark: str) -> tuple[GpuType, ...]:
    """Return the kinds of GPUs of the simulated cluster: whole ones, slices of MIG, and time-sliced ones."""
    return tuple(
        GpuType(
            name=name,
            memory_mb=memory_mb,
            resource=resource,
            node_selector={"simulated-kind": f"{mark}-{label}"},
            tolerations=_TAINTED,
        )
        for name, memory_mb, resource, label in (
            ("H100", 81_559, "nvidia.com/gpu", "whole"),
            ("H100-1g.10gb", 9_728, "nvidia.com/mig-1g.10gb", "mig"),
            ("L4-shared", 5_000, "nvidia.com/gpu.shared", "shared"),
        )
    )


def nodes(mark: str, whole: int) -> list[FakeNode]:
    """Return the nodes: `whole` with eight GPUs each, one with 14 slices, one whose GPUs are shared by 16."""
    of_kind = {gpu.name: gpu for gpu in kinds(mark)}

    def node(name: str, kind: str, count: int) -> FakeNode:
        gpu = of_kind[kind]
        return FakeNode(name=f"{mark}-{name}", resources={gpu.resource: count}, labels=gpu.node_selector)

    return [
        *(node(f"whole-{number}", "H100", GPUS_OF_NODE) for number in range(whole)),
        node("mig", "H100-1g.10gb", 14),
        node("shared", "L4-shared", 16),
    ]


@dataclass(frozen=True, kw_only=True)
class SimulatedRun:
    """A run of one agent.

    Attributes:
        tenant: Whose it is.
        gpu: What its agent asks for.
        seconds: How long it computes.
    """

    tenant: str
    gpu: GpuRequest
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Placed:
    """What became of a run; Unix times.

    Attributes:
        run: Which.
        asked: When its pod was made.
        stay: Where it was, and when.
        refusals: How often its quota was full when it was its turn.
    """

    run: SimulatedRun
    asked: float
    stay: Stay
    refusals: int


def workload(count: int, seed: int = SEED, seconds: float = 8.0) -> dict[str, list[SimulatedRun]]:
    """Return `count` runs for each tenant, by tenant.

    Of ten: five take one whole GPU, two take two, one takes four, one takes all eight of a node, one takes a slice or
    a share. Lengths are spread by an exponential law around `seconds`, between a quarter of it and three times it.
    """
    chance = random.Random(seed)
    whole = "H100"

    def run(tenant: str) -> SimulatedRun:
        count = chance.choice((1, 1, 1, 1, 1, 2, 2, 4, 8, 0))
        gpu = GpuRequest(count=count, type=whole, memory_mb=40_000)
        if count == 0:
            gpu = chance.choice((GpuRequest(memory_mb=8_000), GpuRequest(memory_mb=4_000)))
        length = min(max(chance.expovariate(1 / seconds), seconds / 4), 3 * seconds)
        return SimulatedRun(tenant=tenant, gpu=gpu, seconds=length)

    return {tenant: [run(tenant) for _ in range(count)] for tenant in TENANTS}


class Cluster:
    """The tenants' namespaces on a cluster with nodes by word only; made by `simulated_cluster`."""

    def __init__(self, mark: str, simulated: FakeNodes) -> None:
        """Begin with no namespace; see `begin`."""
        self.simulated = simulated
        self._mark = mark
        self._core: Any = client.CoreV1Api()
        self._bindings = {
            tenant: LocationBinding(
                tenant=tenant,
                namespace=f"{mark}-{tenant}",
                image="simulated:1",
                images={"simulated": "simulated:1"},
                network="open",  # nothing runs in them
                max_gpus=GPUS_OF_NODE,
                gpu_types=[gpu.name for gpu in kinds(mark)],
            )
            for tenant in TENANTS
        }

    def begin(self) -> None:
        """Make the namespaces."""
        for binding in self._bindings.values():
            self._make_namespace(binding.namespace)

    def _make_namespace(self, name: str) -> None:
        labels = {"pod-security.kubernetes.io/enforce": "restricted"}
        self._core.create_namespace(
            {"metadata": {"name": name, "labels": labels}}, _request_timeout=_ASK_SECONDS
        )
        hard = {"requests.nvidia.com/gpu": str(QUOTA)}
        self._core.create_namespaced_resource_quota(
            name, {"metadata": {"name": "gpus"}, "spec": {"hard": hard}}, _request_timeout=_ASK_SECONDS
        )
        until = time.monotonic() + _ASK_SECONDS
        while not self._is_ready(name):
            if time.monotonic() > until:
                raise TimeoutError(f"the namespace {name!r} gets no account and no quota")
            time.sleep(0.1)

    def _is_ready(self, name: str) -> bool:
        accounts = self._core.list_namespaced_service_account(name, _request_timeout=_ASK_SECONDS).items
        quota = self._core.read_namespaced_resource_quota("gpus", name, _request_timeout=_ASK_SECONDS)
        return bool(accounts and quota.status.hard)

    def start(self, run: SimulatedRun) -> str | None:
        """Make the pod of a run, and return its uid; None while the tenant's quota is full."""
        need = AgentNeed(framework="langgraph", environment="simulated", gpu=run.gpu)
        binding = self._bindings[run.tenant]
        parts = run_pod([need], binding, kinds(self._mark), plain={})
        body = {
            "metadata": {
                "generateName": "run-",
                "labels": {**parts.labels, LABEL: "true"},
                "annotations": {SECONDS: f"{run.seconds:.3f}"},
            },
            "spec": {
                **parts.pod,
                "restartPolicy": "Never",
                "containers": [{"name": "dagster", **parts.container}],
            },
        }
        try:
            made = self._core.create_namespaced_pod(binding.namespace, body, _request_timeout=_ASK_SECONDS)
        except ApiException as error:
            if "exceeded quota" in str(error):
                return None
            raise
        return str(made.metadata.uid)

    def end(self) -> None:
        """Remove the namespaces, as far as they were made."""
        for binding in self._bindings.values():
            with contextlib.suppress(ApiException):
                self._core.delete_namespace(binding.namespace, _request_timeout=_ASK_SECONDS)


@contextlib.contextmanager
def simulated_cluster(whole: int = NODES) -> Generator[Cluster]:
    """Have tenants, and `whole` nodes of eight GPUs beside those of slices and shares, for a while."""
    config.load_kube_config()
    mark = f"simulated-{secrets.token_hex(3)}"
    with fake_nodes(nodes(mark, whole)) as simulated:
        cluster = Cluster(mark, simulated)
        try:
            cluster.begin()
            yield cluster
        finally:
            cluster.end()


def run_all(cluster: Cluster, runs: Mapping[str, Sequence[SimulatedRun]]) -> list[Placed]:
    """Run everything, the tenants in turn, and return what became of it.

    Raises:
        TimeoutError: It does not come to an end.
    """
    waiting = {tenant: collections.deque(of_tenant) for tenant, of_tenant in runs.items()}
    asked: dict[str, tuple[SimulatedRun, float, int]] = {}
    refusals: collections.Counter[str] = collections.Counter()
    until = time.monotonic() + _LIMIT_SECONDS
    while any(waiting.values()) or len(_over(cluster)) < len(asked):
        if cluster.simulated.failed is not None:
            raise cluster.simulated.failed
        if time.monotonic() > until:
            raise TimeoutError(f"{len(_over(cluster))} of {len(asked)} runs ended in {_LIMIT_SECONDS:.0f} s")
        over = _over(cluster)
        for tenant, of_tenant in waiting.items():
            there = sum(run.tenant == tenant and uid not in over for uid, (run, _, _) in asked.items())
            if not of_tenant or there >= WAITING:
                continue
            uid = cluster.start(of_tenant[0])
            if uid is None:
                refusals[tenant] += 1
                continue
            asked[uid] = (of_tenant.popleft(), time.time(), refusals.pop(tenant, 0))
        time.sleep(0.05)
    stays = cluster.simulated.stays
    return [Placed(run=run, asked=at, stay=stays[uid], refusals=n) for uid, (run, at, n) in asked.items()]


def _over(cluster: Cluster) -> set[str]:
    return {uid for uid, stay in list(cluster.simulated.stays.items()) if stay.ended is not None}


def busy_seconds(placed: Sequence[Placed], began: float, ended: float) -> float:
    """Return how long whole GPUs were held between two instants, all together."""
    return sum(
        one.run.gpu.count * max(0.0, min(one.stay.ended or ended, ended) - max(one.stay.began, began))
        for one in placed
        if one.run.gpu.type is not None
    )


def measure() -> Outcome:
    """Run everything and tell how busy the GPUs were while every tenant had something to run."""
    with simulated_cluster() as cluster:
        placed = run_all(cluster, workload(RUNS))
    began = min(one.stay.began for one in placed)
    last = {tenant: max(o.asked for o in placed if o.run.tenant == tenant) for tenant in TENANTS}
    ended, whole = min(last.values()), NODES * GPUS_OF_NODE
    over = max(one.stay.ended or 0.0 for one in placed)
    used = busy_seconds(placed, began, ended) / (whole * (ended - began))
    shares = [
        busy_seconds([one for one in placed if one.run.tenant == tenant], began, ended) for tenant in TENANTS
    ]
    fairness = sum(shares) ** 2 / (len(shares) * sum(share**2 for share in shares))
    return Outcome(
        name="gpu-scheduling",
        title="GPUs on the real scheduler",
        how=f"{len(placed)} runs of {len(TENANTS)} tenants (seed {SEED}), {WAITING} of each on the cluster at once, on"
        f" {NODES} nodes of {GPUS_OF_NODE} GPUs, one of MIG slices and one of shared GPUs, which nodes claim and nobody"
        f" has; a tenant's quota is {QUOTA} GPUs. Of ten runs five take one GPU, two take two, one takes four, one"
        " takes eight, one takes a slice or a share; 8 s on average. Busy: of the whole GPUs, from the first placement"
        " until the first tenant has nothing left to begin.",
        rows=_rows(placed),
        findings=[
            f"Busy: {used:.0%} (target {TARGET:.0%}); to the end of the last run"
            f" {busy_seconds(placed, began, over) / (whole * (over - began)):.0%}.",
            f"Fairness between tenants (Jain): {fairness:.3f}; 1 is equal shares.",
        ],
    )


def _rows(placed: Sequence[Placed]) -> list[dict[str, Cell]]:
    def row(name: str, of: Sequence[Placed]) -> dict[str, Cell]:
        waited = [one.stay.began - one.asked for one in of]
        return {
            "asks for": name,
            "runs": len(of),
            "waited on the cluster, p50 s": median(waited),
            "p95 s": quantiles(waited, n=20)[-1] if len(waited) > 1 else waited[0],
            "held back by its quota": sum(one.refusals > 0 for one in of),
        }

    def asks(one: Placed) -> Any:
        gpu = one.run.gpu
        return (0, gpu.memory_mb) if gpu.type is None else (1, gpu.count)

    names = {(0, 4_000): "a share", (0, 8_000): "a slice"}
    groups: dict[Any, list[Placed]] = {}
    for one in placed:
        groups.setdefault(asks(one), []).append(one)
    return [row(names.get(key) or f"{key[1]} GPUs", groups[key]) for key in sorted(groups)]


def main() -> int:
    """Print the table."""
    print(markdown(measure()))
    print(describe_machine())
    return 0


if __name__ == "__main__":
    sys.exit(main())
