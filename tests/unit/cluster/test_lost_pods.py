"""What is read from a pod's status; the statuses are those that a kubelet writes."""

from typing import Any

import pytest

from orchestrator_cluster.lost_pods import RELAY_CONTAINER, has_begun, job_of, loss_of, wait_of, waits

SIDECAR = "guests-0-langgraph"
RUNNING = {"running": {"startedAt": "2026-11-26T10:00:00Z"}}
STARTING = {"waiting": {"reason": "PodInitializing"}}


def ended(status: int, reason: str = "Error", **more: Any) -> dict[str, Any]:
    return {"terminated": {"exitCode": status, "reason": reason, **more}}


def pod(
    run: dict[str, Any] = RUNNING,
    sidecar: dict[str, Any] = RUNNING,
    *,
    last: dict[str, Any] | None = None,
    **status: Any,
) -> dict[str, Any]:
    """Return a pod with the states of its containers."""
    limits = {"resources": {"limits": {"memory": "1Gi"}}}
    return {
        "metadata": {"name": "run-1"},
        "spec": {
            "containers": [{"name": "dagster", **limits}],
            "initContainers": [{"name": SIDECAR, **limits}],
        },
        "status": {
            "phase": "Running",
            "initContainerStatuses": [{"name": SIDECAR, "state": sidecar, "lastState": last or {}}],
            "containerStatuses": [{"name": "dagster", "state": run, "lastState": {}}],
            **status,
        },
    }


def condition(kind: str, reason: str, message: str, status: str = "True") -> dict[str, Any]:
    return {"conditions": [{"type": kind, "status": status, "reason": reason, "message": message}]}


@pytest.mark.parametrize(
    "healthy",
    [
        pod(),
        pod(run=STARTING, sidecar={"waiting": {"reason": "ContainerCreating"}}, phase="Pending"),
        pod(
            run=STARTING,
            sidecar={"waiting": {"reason": "ErrImagePull", "message": "timeout"}},
            phase="Pending",
        ),
        pod(run=ended(0, "Completed"), sidecar=ended(0, "Completed"), phase="Succeeded"),
        pod(run=ended(0, "Completed"), sidecar=ended(137)),
        {"metadata": {"name": "new"}, "spec": {}},
        {"metadata": {"name": "new"}, "spec": {}, "status": {"phase": "Pending"}},
    ],
)
def test_what_works_or_starts_or_is_done_is_not_lost(healthy: dict[str, Any]) -> None:
    assert loss_of(healthy) is None


@pytest.mark.parametrize(
    ("lost", "why"),
    [
        (
            pod(
                run=STARTING,
                sidecar={"waiting": {"reason": "ImagePullBackOff", "message": "Back-off\n  pulling"}},
            ),
            f"the container {SIDECAR!r} cannot start (ImagePullBackOff): Back-off pulling",
        ),
        (
            pod(
                run={
                    "waiting": {"reason": "CreateContainerConfigError", "message": 'secret "keys" not found'}
                }
            ),
            "the container 'dagster' cannot start (CreateContainerConfigError): secret \"keys\" not found",
        ),
        (
            pod(sidecar=RUNNING, last=ended(137, "OOMKilled")),
            f"the container {SIDECAR!r} was ended for its memory (OOMKilled): it may have 1Gi;"
            " the run's guests in it are lost",
        ),
        (
            pod(sidecar=ended(137)),
            f"the container {SIDECAR!r} ended with signal 9 (Error); the run's guests in it are lost",
        ),
        (
            pod(
                run=STARTING,
                sidecar={"waiting": {"reason": "CrashLoopBackOff"}},
                last=ended(2, message="none"),
            ),
            f"the container {SIDECAR!r} ended with status 2 (Error): none; the run's guests in it are lost",
        ),
        (
            pod(run=ended(137, "OOMKilled"), phase="Failed"),
            "the container 'dagster' was ended for its memory (OOMKilled): it may have 1Gi",
        ),
        (pod(run=ended(1), phase="Failed"), "the container 'dagster' ended with status 1 (Error)"),
        (
            pod(phase="Failed", reason="Evicted", message="The node was low on resource: memory."),
            "the pod was ended by the cluster (Evicted): The node was low on resource: memory.",
        ),
        (
            pod(**condition("DisruptionTarget", "EvictionByEvictionAPI", "Eviction API: evicting")),
            "the pod is taken away (EvictionByEvictionAPI): Eviction API: evicting",
        ),
    ],
)
def test_what_is_lost_says_why_in_one_line(lost: dict[str, Any], why: str) -> None:
    assert loss_of(lost) == why


def test_a_relay_that_was_started_again_has_lost_no_guests() -> None:
    again = pod(last=ended(137, "OOMKilled"))
    assert loss_of(again) is not None
    for part in (again["spec"]["initContainers"], again["status"]["initContainerStatuses"]):
        part[0]["name"] = RELAY_CONTAINER
    assert loss_of(again) is None
    again["status"]["initContainerStatuses"][0]["state"] = {"waiting": {"reason": "ErrImageNeverPull"}}
    assert "cannot start" in str(loss_of(again)), "nobody can reach the gateway then"


def test_a_pod_that_somebody_deletes_is_not_lost() -> None:
    deleted = pod(sidecar=ended(137), run=ended(143))
    deleted["metadata"]["deletionTimestamp"] = "2026-11-26T10:00:00Z"
    assert loss_of(deleted) is None


def test_a_pod_without_a_node_says_what_it_waits_for() -> None:
    waiting = pod(**condition("PodScheduled", "Unschedulable", "1 Insufficient nvidia.com/gpu.", "False"))
    assert wait_of(waiting) == "the pod waits for a node that has room for it: 1 Insufficient nvidia.com/gpu."
    assert wait_of(pod(**condition("PodScheduled", "", ""))) is None and wait_of(pod()) is None
    waiting["spec"]["nodeSelector"] = {"pool": "b", "gpu": "h100"}
    assert "for a node that has room for it and the labels gpu=h100, pool=b: 1 " in str(wait_of(waiting))


def test_whether_the_runs_own_container_ever_ran() -> None:
    assert has_begun(pod()) and has_begun(pod(run=ended(1)))
    assert not has_begun(pod(run=STARTING)) and not has_begun({"metadata": {}, "spec": {}})


def test_a_pod_waits_until_its_own_container_begins_or_somebody_removes_it() -> None:
    waiting = pod(run=STARTING, sidecar=STARTING, phase="Pending")
    assert waits(waiting)
    assert not waits(pod(run=STARTING))
    assert not waits(pod(phase="Pending"))
    assert not waits({**waiting, "metadata": {"deletionTimestamp": "2026-11-26T10:00:00Z"}})


def test_a_pod_is_its_controllers() -> None:
    other = {"kind": "Job", "name": "other"}
    owners = [other, {"kind": "ReplicaSet", "name": "set", "controller": True}]
    assert job_of({"metadata": {}}) is None and job_of({"metadata": {"ownerReferences": owners}}) is None
    mine = {"kind": "Job", "name": "dagster-run-1", "controller": True}
    assert job_of({"metadata": {"ownerReferences": [other, mine]}}) == "dagster-run-1"
