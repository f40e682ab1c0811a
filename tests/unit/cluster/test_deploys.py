"""Deploys on a cluster that is scripted: what is asked of it, and when it is left or restored."""

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from orchestrator_cluster import deploys
from orchestrator_cluster.cluster_errors import ClusterAway
from orchestrator_cluster.deploys import DeployFailed, DeploymentChanged, check_name, deploy

OLD, NEW = "acme/agents:1", "acme/agents:2"
_RUNS = {"running": {"startedAt": "2026-01-01T00:00:00Z"}}
RUNNING: dict[str, Any] = {"ready": False, "state": _RUNS}
READY: dict[str, Any] = {"ready": True, "state": _RUNS}
ALONE: dict[str, Any] = {"ready": True, "state": _RUNS}
"""Ready, and the old pod is gone."""
_PULL = {"reason": "ImagePullBackOff", "message": "not found"}
NO_IMAGE: dict[str, Any] = {"ready": False, "state": {"waiting": _PULL}}
_END = {"exitCode": 1, "reason": "Error"}
CRASHED: dict[str, Any] = {"ready": False, "state": {}, "lastState": {"terminated": _END}}


class Cluster:
    """A deployment whose new pod goes through states, one for each time that its pods are asked for."""

    def __init__(self, *states: dict[str, Any], count: int = 1) -> None:
        self.image, self.variables = OLD, [OLD]
        self.states, self.count = list(states), count
        self.version, self.generation, self.conflicts = 1, 1, 0
        self.away = 0
        self.meanwhile: Callable[[], None] = lambda: None
        self.state: dict[str, Any] | None = None

    def find(self, location: str, namespace: str | None) -> list[Mapping[str, Any]]:
        return [self.told()] * self.count

    def read(self, namespace: str, name: str) -> Mapping[str, Any]:
        if self.away:
            self.away -= 1
            raise ClusterAway("connection refused")
        return self.told()

    def told(self) -> Mapping[str, Any]:
        done = self.state is ALONE or self.image == OLD
        return {
            "metadata": {
                "name": "code-team",
                "namespace": "acme",
                "resourceVersion": str(self.version),
                "generation": self.generation,
            },
            "spec": {
                "replicas": 1,
                "selector": {"matchLabels": {"location": "team"}},
                "template": {"spec": {"containers": [{"name": "code-server", "image": self.image}]}},
            },
            "status": {
                "observedGeneration": self.generation,
                "replicas": 1 if done else 2,
                "updatedReplicas": 1,
                "availableReplicas": 1,
            },
        }

    def patch(self, namespace: str, name: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
        if self.conflicts or body["metadata"]["resourceVersion"] != str(self.version):
            self.conflicts -= 1
            self.version += 1
            raise DeploymentChanged
        (container,) = body["spec"]["template"]["spec"]["containers"]
        assert container["env"] == [{"name": "DAGSTER_CURRENT_IMAGE", "value": container["image"]}]
        self.image = container["image"]
        self.version, self.generation = self.version + 1, self.generation + 1
        return self.told()

    def pods(self, namespace: str, labels: Mapping[str, str]) -> list[Mapping[str, Any]]:
        assert labels == {"location": "team"}
        self.state = self.states.pop(0) if self.states else self.state
        self.meanwhile()
        new = {
            "metadata": {"name": "new"},
            "spec": {"containers": [{"name": "code-server", "image": NEW}]},
            "status": {"containerStatuses": [{"name": "code-server", **(self.state or {})}]},
        }
        gone = {**new, "metadata": {"name": "gone", "deletionTimestamp": "2026-01-01T00:00:00Z"}}
        gone["status"] = {"containerStatuses": [{"name": "code-server", **CRASHED}]}
        old = {"metadata": {"name": "old"}, "spec": {"containers": [{"name": "code-server", "image": OLD}]}}
        return [old, gone, new]

    def last_words(self, namespace: str, pod: str) -> str:
        assert pod == "new"
        return "ModuleNotFoundError: no agents" if self.state is CRASHED else ""


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deploys, "_PERIOD_SECONDS", 0.001)


def go(cluster: Cluster, seconds: float = 5.0) -> list[str]:
    said: list[str] = []
    done = deploy(cluster, "team", NEW, said.append, seconds=seconds)
    assert done.before == OLD
    return said


def test_a_new_code_server_is_waited_for() -> None:
    cluster = Cluster({}, RUNNING, RUNNING, READY, ALONE)
    assert go(cluster) == [
        "team: acme/agents:1 -> acme/agents:2",
        "  it gets a node",
        "  the new code server starts",
        "  the new code server serves, the old one ends",
    ]
    assert cluster.image == NEW


@pytest.mark.parametrize(
    ("state", "why"),
    [
        (NO_IMAGE, r"cannot start \(ImagePullBackOff\): not found; the location has acme/agents:1"),
        (CRASHED, r"ended with status 1 \(Error\); it said last:\nModuleNotFoundError: no agents\n"),
        (RUNNING, "does not serve in time: the new code server starts"),
    ],
    ids=["no image", "crashed", "too slow"],
)
def test_the_old_image_comes_back_where_the_new_one_does_not_serve(state: dict[str, Any], why: str) -> None:
    cluster = Cluster(RUNNING, state)
    with pytest.raises(DeployFailed, match=why):
        go(cluster, seconds=0.05)
    assert cluster.image == OLD


def test_what_somebody_else_deploys_meanwhile_is_left_alone() -> None:
    cluster = Cluster(RUNNING)

    def other() -> None:
        cluster.image = "acme/agents:3"

    cluster.meanwhile = other
    with pytest.raises(DeployFailed, match="somebody else has deployed acme/agents:3 meanwhile"):
        go(cluster)
    assert cluster.image == "acme/agents:3"


def test_a_deployment_that_changes_under_the_hand_is_read_again() -> None:
    cluster = Cluster(ALONE)
    cluster.conflicts = 3
    go(cluster)
    cluster = Cluster(ALONE)
    cluster.conflicts = 100
    with pytest.raises(DeployFailed, match=r"others change the deployment 'code-team' all the time"):
        go(cluster)
    assert cluster.image == OLD


def test_a_name_that_does_not_change_changes_nothing() -> None:
    cluster = Cluster()
    with pytest.raises(DeployFailed, match=r"has the image acme/agents:1 already: .* needs another tag"):
        deploy(cluster, "team", OLD, print)
    assert cluster.version == 1


def test_a_cluster_that_is_away_for_a_moment_is_waited_for() -> None:
    cluster = Cluster(RUNNING, ALONE)

    def away() -> None:
        cluster.away, cluster.meanwhile = 3, lambda: None

    cluster.meanwhile = away
    assert "  the cluster does not answer: connection refused" in go(cluster)
    cluster = Cluster(RUNNING, CRASHED)
    cluster.meanwhile = away
    with pytest.raises(DeployFailed, match="the location has acme/agents:1"):
        go(cluster)
    assert cluster.image == OLD


def test_a_cluster_that_stays_away_is_told_with_what_is_left_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deploys, "_BACK_SECONDS", 0.05)
    cluster = Cluster(RUNNING)

    def away() -> None:
        cluster.away = 10**9

    cluster.meanwhile = away
    why = "cannot be given back its image: connection refused; it has acme/agents:2, .* and had acme/agents:1"
    with pytest.raises(DeployFailed, match=why):
        go(cluster, seconds=0.05)


@pytest.mark.parametrize(("count", "there"), [(0, "none"), (2, "acme, acme")])
def test_a_location_has_one_code_server(count: int, there: str) -> None:
    with pytest.raises(DeployFailed, match=f"has it in the namespaces: {there}"):
        go(Cluster(count=count))


@pytest.mark.parametrize("name", ["", "Team", "team,other=1", "-team", "a" * 64])
def test_a_name_that_no_location_has_is_refused(name: str) -> None:
    with pytest.raises(DeployFailed, match="is no name of a code location"):
        check_name(name)
    check_name("team-1")
