"""Runs whose pod is lost, in a real instance: what they are told to have failed of, and what is removed."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from dagster import DagsterInstance, DagsterRun, DagsterRunStatus

from orchestrator_cluster import run_jobs
from orchestrator_cluster.run_launcher import AgentRunLauncher
from orchestrator_cluster.run_tags import NAMESPACE_TAG
from orchestrator_cluster.run_watch import TELL_SECONDS, RunWatch, watch
from tests.integration.api_servers import (
    BINDINGS,
    LOCATION,
    ApiServer,
    Launch,
    Platform,
    api_server,
    launched,
)

LOST: Any = {
    "name": "guests-0-langgraph",
    "state": {"waiting": {"reason": "ErrImageNeverPull", "message": "not here"}},
}
WELL: Any = {"name": "guests-0-langgraph", "state": {"running": {}}}
JOBS = "/apis/batch/v1/namespaces/acme-runs/jobs"


class Watched:
    """A run that was launched, and whoever watches its pod."""

    def __init__(self, platform: Platform, instance: DagsterInstance, api: ApiServer) -> None:
        self.platform, self.instance, self.api = platform, instance, api
        self.now = 1_000.0
        self.watching = RunWatch(instance, launcher(instance), lambda: self.now)

    @property
    def run(self) -> DagsterRun:
        (run,) = self.instance.get_runs()
        return run

    def is_now(self, status: DagsterRunStatus) -> bool:
        return self.run.status is status

    @property
    def name(self) -> str:
        return f"dagster-run-{self.run.run_id}"

    @property
    def job(self) -> str:
        return f"{JOBS}/{self.name}"

    def metadata(self, **more: Any) -> dict[str, Any]:
        """Return what names a pod or a job of the run."""
        labels = {"app.kubernetes.io/component": "run_worker", "dagster/run-id": self.run.run_id}
        owner = {"kind": "Job", "name": self.name, "controller": True}
        told = {"name": self.name, "namespace": "acme-runs", "uid": "1", "ownerReferences": [owner]}
        return {**told, "labels": labels, **more}

    def pod(self, *statuses: dict[str, Any], own: dict[str, Any] | None = None, **status: Any) -> None:
        """Let the API server tell of a pod of the run."""
        own_status = [{"name": "dagster", "state": own}] if own else []
        told = {
            "phase": "Pending",
            "initContainerStatuses": statuses,
            "containerStatuses": own_status,
            **status,
        }
        metadata = self.metadata()
        metadata["labels"]["job-name"] = self.name  # as the cluster labels a job's pods
        self.api.pods = [{"metadata": metadata, "spec": {}, "status": told}]

    def told(self, words: str = "") -> list[str]:
        """Return what the run's log says with some words in it."""
        return [entry.message for entry in self.instance.all_logs(self.run.run_id) if words in entry.message]


def launcher(instance: DagsterInstance) -> AgentRunLauncher:
    found = instance.run_launcher
    assert isinstance(found, AgentRunLauncher)
    return found


def unschedulable(message: str) -> dict[str, Any]:
    return {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}


@pytest.fixture(scope="module")
def launch(tmp_path_factory: pytest.TempPathFactory) -> Launch:
    return launched(tmp_path_factory.mktemp("launched"), "one_agent", BINDINGS)


@pytest.fixture
def watched(tmp_path: Path, launch: Launch) -> Iterator[Watched]:
    with api_server() as api:
        platform = Platform(tmp_path, api, BINDINGS, launch)
        with DagsterInstance.from_config(str(platform.home)) as instance:
            yield Watched(platform, instance, api)


def test_a_run_that_can_go_on_no_more_fails_with_the_reason_and_its_job_is_removed(watched: Watched) -> None:
    watched.pod(WELL)
    watched.watching.look()
    assert watched.is_now(DagsterRunStatus.STARTING) and watched.api.deleted == []
    watched.pod(LOST)
    watched.watching.look()
    assert watched.is_now(DagsterRunStatus.FAILURE)
    why = (
        "The run cannot go on: the container 'guests-0-langgraph' cannot start (ErrImageNeverPull): not here."
    )
    assert why in watched.told()[-1]
    assert watched.api.deleted == [watched.job]
    watched.watching.look()
    assert len(watched.api.deleted) == 1, "what is done is done"


def test_why_a_run_was_interrupted_is_told_once_also_where_it_was_faster_to_fail(watched: Watched) -> None:
    reason = {
        "type": "DisruptionTarget",
        "status": "True",
        "reason": "EvictionByEvictionAPI",
        "message": "drained",
    }
    watched.pod(WELL, own={"running": {}}, phase="Running", conditions=[reason])
    watched.instance.report_run_failed(watched.run, "Execution was interrupted unexpectedly.")
    watched.watching.look()
    RunWatch(watched.instance, launcher(watched.instance)).look()  # as after a restart of the watch
    (told,) = watched.told("the pod is taken away (EvictionByEvictionAPI): drained")
    assert "Why the run was interrupted: " in told


def test_why_a_run_was_interrupted_whose_own_disk_was_full_is_told_once(watched: Watched) -> None:
    ended = {"terminated": {"exitCode": 137, "reason": "ContainerStatusUnknown"}}
    watched.pod(WELL, own=ended, phase="Failed", reason="Evicted", message="Usage of EmptyDir exceeds 1Gi.")
    watched.instance.report_run_failed(watched.run, "Execution was interrupted unexpectedly.")
    for _ in range(2):
        RunWatch(watched.instance, launcher(watched.instance)).look()  # as after a restart of the watch
    (told,) = watched.told("the pod was ended by the cluster (Evicted): Usage of EmptyDir exceeds 1Gi.")
    assert "Why the run was interrupted: " in told


@pytest.mark.parametrize("was_faster", [True, False])
def test_why_a_run_lost_a_pod_that_nobody_saw_go_is_told_by_its_job(
    watched: Watched, was_faster: bool
) -> None:
    if was_faster:
        watched.instance.report_run_failed(watched.run, "Execution was interrupted unexpectedly.")
    ((_, job),) = watched.api.jobs
    assert job["spec"]["podFailurePolicy"]["rules"][0]["onPodConditions"][0]["type"] == "DisruptionTarget"
    words = "Pod acme-runs/run-1 has condition DisruptionTarget matching FailJob rule at index 0"
    failed = {"type": "Failed", "status": "True", "reason": "PodFailurePolicy", "message": words}
    job["status"] = {"failed": 1, "conditions": [failed]}
    for _ in range(2):
        watched.watching.look()
    (told,) = watched.told("the pod is taken away, as from a node")
    assert words in told and watched.is_now(DagsterRunStatus.FAILURE)


def test_why_a_pod_waits_is_told_once_and_other_words_at_most_once_a_minute(watched: Watched) -> None:
    for message in ("no GPU is free", "no GPU is free", "no GPU is free on 4 nodes", "on 5 nodes"):
        watched.pod(conditions=[unschedulable(message)])
        watched.watching.look()
        watched.now += 2
    assert len(watched.told("the pod waits for a node")) == 1
    watched.now += TELL_SECONDS
    watched.watching.look()
    told = watched.told("the pod waits for a node")
    assert len(told) == 2 and "on 5 nodes" in told[1]
    assert watched.is_now(DagsterRunStatus.STARTING)


def test_a_namespace_and_a_pod_that_cannot_be_looked_at_keep_the_watch_from_no_other(
    watched: Watched, caplog: pytest.LogCaptureFixture
) -> None:
    watched.pod(LOST)
    status: dict[str, Any] = {"conditions": [{}]}
    broken = {"metadata": watched.metadata(name="broken", uid="0"), "status": status}
    watched.api.pods.insert(0, broken)
    watched.api.forbidden.add("aaa-runs")  # it comes first
    for _ in range(3):
        watched.watching.look()
    assert watched.is_now(DagsterRunStatus.FAILURE) and watched.api.deleted == [watched.job]
    told = [record.getMessage() for record in caplog.records if "cannot be looked at" in record.getMessage()]
    assert ["'aaa-runs'" in line for line in told] == [True, False], told
    assert "403 Forbidden" in told[0] and "'broken'" in told[1]


@pytest.mark.parametrize(
    "changes",
    [
        {"namespace": "aaa-runs"},
        {"ownerReferences": []},
        {"ownerReferences": [{"kind": "Job", "name": "dagster-run-", "controller": True}]},
    ],
)
def test_a_pod_that_pretends_to_be_a_runs_does_not_end_it(watched: Watched, changes: dict[str, Any]) -> None:
    watched.pod(LOST)
    watched.api.pods[0]["metadata"] |= changes
    watched.watching.look()
    assert watched.is_now(DagsterRunStatus.STARTING) and watched.api.deleted == []


def test_the_job_of_a_run_that_was_resumed_is_the_one_that_made_its_pod(watched: Watched) -> None:
    watched.pod(LOST)
    owner = {"kind": "Job", "name": f"{watched.name}-1", "controller": True}
    watched.api.pods[0]["metadata"]["ownerReferences"] = [owner]
    watched.watching.look()
    assert watched.is_now(DagsterRunStatus.FAILURE) and watched.api.deleted == [f"{watched.job}-1"]


def test_a_run_that_was_given_up_while_its_pod_waited_leaves_no_job(watched: Watched) -> None:
    watched.pod(conditions=[unschedulable("no GPU is free")])
    watched.instance.report_run_failed(watched.run, "it took too long to start")
    for _ in range(2):
        watched.watching.look()
    assert watched.api.deleted == [watched.job]


def test_a_run_whose_container_has_begun_keeps_its_job_when_it_is_over(watched: Watched) -> None:
    watched.instance.report_run_failed(watched.run, "its step failed")
    watched.pod(WELL, own={"running": {}}, phase="Running")
    watched.watching.look()
    assert watched.api.deleted == []


def test_what_a_quota_refuses_is_told_in_the_runs_log(watched: Watched) -> None:
    job = {"metadata": watched.metadata(uid="job"), "status": {}}
    watched.api.podless = [job]
    watched.watching.look()
    assert not watched.told("the cluster makes no pod")
    for minute, used in (("00", "1"), ("02", "3"), ("01", "2")):
        pod = f"{watched.name}-abc{minute}"
        watched.api.events.append(
            {
                "involvedObject": {"kind": "Job", "name": watched.name, "uid": "job"},
                "lastTimestamp": f"2026-11-26T10:{minute}:00Z",
                "message": f'Error creating: pods "{pod}" is forbidden: exceeded quota: gpus, used: {used}',
            }
        )
    for _ in range(2):
        watched.watching.look()
    (told,) = watched.told("the cluster makes no pod")
    assert told.endswith("for the run: Error creating: pods is forbidden: exceeded quota: gpus, used: 3")
    watched.instance.report_run_failed(watched.run, "it took too long to start")
    watched.watching.look()
    assert watched.api.deleted == [watched.job], "or it would take the quota of others later"


@pytest.mark.parametrize(
    "locations",
    [
        {"definitions.py": {**LOCATION, "images": {}}},
        {"definitions.py": {**LOCATION, "namespace": "acme-new"}, "more": LOCATION},
        {"more": LOCATION},
    ],
    ids=["less", "elsewhere", "nothing"],
)
def test_what_a_location_may_have_by_now_is_no_matter_for_its_runs(
    watched: Watched, locations: dict[str, Any]
) -> None:
    watched.platform.bind({**BINDINGS, "locations": locations})
    with DagsterInstance.from_config(str(watched.platform.home)) as instance:
        watched.pod(WELL)
        health = instance.run_launcher.check_run_worker_health(watched.run)
        assert health.status.value == "RUNNING", health
        RunWatch(instance, launcher(instance)).look()
        assert watched.is_now(DagsterRunStatus.STARTING)
        assert instance.run_launcher.terminate(watched.run.run_id)
    assert watched.is_now(DagsterRunStatus.CANCELED) and watched.api.deleted == [watched.job]


def test_where_a_run_is_is_the_launchers_to_say(tmp_path: Path) -> None:
    with api_server() as api:
        platform = Platform(tmp_path, api, BINDINGS)
        status, said = platform.launch("misplaced")
        assert status == 0, said
        with DagsterInstance.from_config(str(platform.home)) as instance:
            (run,) = instance.get_runs()
            assert run.tags[NAMESPACE_TAG] == "acme-runs"


def test_an_api_server_that_is_away_is_asked_again(watched: Watched) -> None:
    watched.pod(LOST)
    watched.api.away = True
    watched.watching.look()
    assert watched.is_now(DagsterRunStatus.STARTING)
    stopped = threading.Event()
    watching = threading.Thread(target=watch, args=(watched.instance, stopped, 0.05))
    watching.start()
    stopped.wait(0.3)
    assert watching.is_alive() and watched.is_now(DagsterRunStatus.STARTING)
    watched.api.away = False
    for _ in range(200):
        if watched.api.deleted:
            break
        stopped.wait(0.05)
    stopped.set()
    watching.join(10)
    assert watched.is_now(DagsterRunStatus.FAILURE) and watched.api.deleted[-1] == watched.job


def test_a_run_that_was_told_to_have_failed_loses_its_job_the_next_time(watched: Watched) -> None:
    watched.instance.report_run_failed(watched.run, "told, and then the watch was killed")
    watched.pod(LOST)
    watched.watching.look()
    assert watched.api.deleted == [watched.job]
    assert not [line for line in watched.told() if "cannot go on" in line]


def test_a_run_that_never_began_is_canceled_at_once(watched: Watched) -> None:
    watched.pod(WELL)
    assert watched.instance.run_launcher.terminate(watched.run.run_id)
    assert watched.is_now(DagsterRunStatus.CANCELED) and watched.api.deleted == [watched.job]
    assert watched.api.how_deleted == ["propagationPolicy=Background"]
    assert watched.instance.run_launcher.terminate(watched.run.run_id) is False, "it is over"


def test_an_api_server_that_hangs_is_not_waited_for(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_jobs, "ASK_SECONDS", 0.2)
    watched.pod(WELL)
    watched.api.slow = threading.Event()
    try:
        assert watched.instance.run_launcher.terminate(watched.run.run_id) is False
    finally:
        watched.api.slow.set()
    assert watched.told("The run was not ended: ") and watched.is_now(DagsterRunStatus.CANCELING)


def test_a_run_that_works_tells_itself_that_it_was_canceled(watched: Watched) -> None:
    watched.pod(WELL, own={"running": {}})
    assert watched.instance.run_launcher.terminate(watched.run.run_id)
    assert watched.is_now(DagsterRunStatus.CANCELING)


def test_an_instance_without_pods_has_nothing_to_watch(tmp_path: Path) -> None:
    with (
        DagsterInstance.local_temp(str(tmp_path)) as instance,
        pytest.raises(SystemExit, match="nothing to watch"),
    ):
        watch(instance, threading.Event())
