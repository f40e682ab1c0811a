"""Where runs that ask for GPUs are placed by the real scheduler, on nodes that claim to have some."""

import time
from collections import Counter
from collections.abc import Iterator

import pytest

from benchmarks.gpu_scheduling import (
    GPUS_OF_NODE,
    QUOTA,
    TENANTS,
    Cluster,
    Placed,
    SimulatedRun,
    run_all,
    simulated_cluster,
    workload,
)
from orchestrator_resources.gpus import GpuRequest

WHOLE = 3
"""Nodes of eight GPUs: fewer than what the quotas of all tenants would take."""


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    with simulated_cluster(WHOLE) as made:
        yield made


def run(gpu: GpuRequest, tenant: str = TENANTS[0], seconds: float = 0.5) -> SimulatedRun:
    return SimulatedRun(tenant=tenant, gpu=gpu, seconds=seconds)


def kind_of(placed: Placed) -> str:
    return placed.stay.node.split("-")[2]


def test_each_kind_of_gpu_is_found_where_it_is(cluster: Cluster) -> None:
    asked = {
        "whole": GpuRequest(count=2, memory_mb=40_000),
        "mig": GpuRequest(type="1g.10gb"),
        "shared": GpuRequest(memory_mb=4_000),
    }
    placed = run_all(cluster, {TENANTS[0]: [run(gpu) for gpu in asked.values()]})
    found = {kind_of(one): one.run.gpu for one in placed}
    assert found == asked


def test_neither_a_node_nor_a_quota_is_ever_exceeded_and_everything_ends(cluster: Cluster) -> None:
    runs = workload(12, seconds=1.0)
    placed = run_all(cluster, runs)
    assert Counter(one.run.tenant for one in placed) == {tenant: len(runs[tenant]) for tenant in TENANTS}
    whole = [one for one in placed if kind_of(one) == "whole"]
    for instant in {one.stay.began for one in whole}:
        there = [one for one in whole if one.stay.began <= instant < (one.stay.ended or time.time())]
        of_node, of_tenant = Counter[str](), Counter[str]()
        for one in there:
            of_node[one.stay.node] += one.stay.gpus
            of_tenant[one.run.tenant] += one.stay.gpus
        assert max(of_node.values()) <= GPUS_OF_NODE
        assert max(of_tenant.values()) <= QUOTA


def test_a_tenant_that_asks_for_everything_leaves_the_others_their_share(cluster: Cluster) -> None:
    greedy, modest = TENANTS[0], TENANTS[1]
    eight = GpuRequest(count=GPUS_OF_NODE, memory_mb=40_000)
    placed = run_all(
        cluster,
        {
            greedy: [run(eight, greedy, seconds=3.0) for _ in range(4)],
            modest: [run(GpuRequest(memory_mb=40_000), modest) for _ in range(4)],
        },
    )
    first_free = min(one.stay.ended or 0.0 for one in placed if one.run.tenant == greedy)
    assert all((one.stay.ended or 0.0) < first_free for one in placed if one.run.tenant == modest)
    assert any(one.refusals for one in placed if one.run.tenant == greedy), "its quota has held it back"
