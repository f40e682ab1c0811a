"""Runs whose pod is lost, in a real instance: what they are told to have failed of, and what is removed."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from dagster import DagsterInstance, DagsterRun, DagsterRunStatus

from orchestrator_cluster.cluster_errors import ClusterAway
from orchestrator_cluster.run_launcher import AgentRunLauncher
from orchestrator_cluster.run_watch import RunWatch, watch
from tests.integration.api_servers import BINDINGS, ApiServer, Platform, api_server

LOST: Any = {
    "name": "guests-0-langgraph",
    "state": {"waiting": {"reason": "ErrImageNeverPull", "message": "not here"}},
}
WELL: Any = {"name": "guests-0-langgraph", "state": {"running": {}}}
JOBS = "/apis/batch/v1/namespaces/acme-runs/jobs"


class Watched:
    """A run that was launched, and whoever watches its pod."""

    def __init__(self, instance: DagsterInstance, api: ApiServer) -> None:
        self.instance, self.api = instance, api
        self.launcher = instance.run_launcher
        assert isinstance(self.launcher, AgentRunLauncher)
        self.watching = RunWatch(instance, self.launcher)

    @property
    def run(self) -> DagsterRun:
        (run,) = self.instance.get_runs()
        return run

    def is_now(self, status: DagsterRunStatus) -> bool:
        return self.run.status is status

    @property
    def job(self) -> str:
        return f"{JOBS}/dagster-run-{self.run.run_id}"

    def pod(self, *statuses: dict[str, Any], own: dict[str, Any] | None = None, **status: Any) -> None:
        """Let the API server tell of a pod of the run."""
        labels = {"app.kubernetes.io/component": "run_worker", "dagster/run-id": self.run.run_id}
        own_status = [{"name": "dagster", "state": own}] if own else []
        told = {
            "phase": "Pending",
            "initContainerStatuses": statuses,
            "containerStatuses": own_status,
            **status,
        }
        metadata = {"name": "run", "uid": "1", "labels": labels}
        self.api.pods = [{"metadata": metadata, "spec": {}, "status": told}]

    def told(self) -> list[str]:
        """Return what the run's log says."""
        return [entry.message for entry in self.instance.all_logs(self.run.run_id)]


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Watched]:
    with api_server() as api:
        platform = Platform(tmp_path, api, BINDINGS)
        status, said = platform.launch("one_agent")
        assert status == 0, said
        with DagsterInstance.from_config(str(platform.home)) as instance:
            yield Watched(instance, api)


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


def test_a_pod_that_waits_is_told_of_once(watched: Watched) -> None:
    scheduled = {
        "type": "PodScheduled",
        "status": "False",
        "reason": "Unschedulable",
        "message": "no GPU is free",
    }
    watched.pod(conditions=[scheduled])
    for _ in range(3):
        watched.watching.look()
    assert len([line for line in watched.told() if "no GPU is free" in line]) == 1
    assert watched.is_now(DagsterRunStatus.STARTING)


def test_an_api_server_that_is_away_is_asked_again(watched: Watched) -> None:
    watched.pod(LOST)
    watched.api.away = True
    with pytest.raises(ClusterAway):
        watched.watching.look()
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
    assert watched.instance.run_launcher.terminate(watched.run.run_id) is False, "it is over"


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
