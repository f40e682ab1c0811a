"""What is drawn from the figures of a cluster, and how its instance is changed for them."""

from collections import Counter
from typing import Any

import pytest

from benchmarks.cluster_deploys import Round, rows, spread
from benchmarks.cluster_instances import limited, simulated, stock
from benchmarks.cluster_leftovers import ENDS, JOBS, Fate, fate, more
from benchmarks.cluster_queue import Drained, Stayed, Trial, used
from orchestrator_cluster.bindings import read_bindings

INSTANCE: dict[str, Any] = {
    "storage": {"postgres": {}},
    "concurrency": {"runs": {"max_concurrent_runs": 25}},
    "run_coordinator": {"config": {"dequeue_use_threads": True}},
    "run_launcher": {
        "module": "orchestrator_cluster.run_launcher",
        "class": "AgentRunLauncher",
        "config": {
            "dagster_home": "/opt/dagster/home",
            "bindings": {
                "locations": {
                    "figures": {
                        "tenant": "acme",
                        "namespace": "acme-runs",
                        "image": "localhost/figures:1",
                        "gateway_url": "http://gateway:8900",
                        "run": {"cpu": "20m", "memory": "1Gi"},
                    }
                }
            },
        },
    },
}


def test_used_is_the_share_of_the_limit_until_the_last_one_begins() -> None:
    whole = [Stayed(began=0, ended=10), Stayed(began=0, ended=10), Stayed(began=10, ended=99)]
    assert used(whole, 2) == pytest.approx(1.0)
    assert used([Stayed(began=0, ended=5), Stayed(began=10, ended=99)], 1) == pytest.approx(0.5)


def test_a_rate_counts_from_the_first_pod_to_the_last() -> None:
    stays = [Stayed(began=at, ended=at + 1) for at in (30.0, 10.0, 20.0)]
    trial = Trial(stock=True, limit=1, seconds=1.0, runs=3)
    assert Drained(trial=trial, stays=stays, cpu=0.0, seconds=0.0).rate == pytest.approx(6.0)


def test_simulated_runs_keep_a_binding_that_is_valid_and_are_on_the_nodes_by_word_only() -> None:
    config = simulated(INSTANCE, {"kind": "none"})["run_launcher"]["config"]
    binding = read_bindings(config["bindings"]).locations["figures"]
    assert binding.node_selector == {"kind": "none"} and len(binding.tolerations) == 1
    assert "labels" not in INSTANCE["run_launcher"]["config"], "the chart's own is not changed"


def test_stock_has_the_same_pods_without_our_launcher_and_queue() -> None:
    changed = stock(simulated(limited(INSTANCE, 7), {"kind": "none"}), "figures")
    assert "config" not in changed["run_coordinator"]
    assert changed["concurrency"]["runs"]["max_concurrent_runs"] == 7
    launcher = changed["run_launcher"]
    assert launcher["class"] == "K8sRunLauncher" and "bindings" not in launcher["config"]
    assert launcher["config"]["job_namespace"] == "acme-runs"
    pod = launcher["config"]["run_k8s_config"]["pod_spec_config"]
    assert pod["node_selector"] == {"kind": "none"} and pod["tolerations"][0]["operator"] == "Exists"


def test_of_twenty_runs_every_fate_has_its_share() -> None:
    counted = Counter(map(fate, range(20)))
    assert set(counted) == set(Fate) == set(JOBS) == set(ENDS)
    assert counted[Fate.PLAIN] == 8 and counted[Fate.LOST_POD] == counted[Fate.LOST_GUESTS] == 1


def test_only_what_must_not_grow_counts_as_left() -> None:
    before = {"objects": {"jobs": 1}, "left": {"mounts": 5}, "rows": {"runs": 1}}
    now = {"objects": {"jobs": 1, "pods": 2}, "left": {"mounts": 7}, "rows": {"runs": 100}}
    assert more(before, now) == {"pods": 2, "mounts": 2}


def test_a_phase_that_was_not_seen_took_no_time() -> None:
    one = Round(
        framework="agno", built=2, pushed=3, starts=None, serves=8, alone=9, known=9, asked=12, answered=13
    )
    took = {str(row["done"]): row["took, p50 s"] for row in rows([one, one])}
    assert took["the new code server's container runs"] == 0
    assert took["the new code server serves"] == 5
    assert took["the agent asks its model"] == 3
    assert spread([1.0]) == (1.0, 1.0)
