"""Runs whose start meets an API server that is away, a second daemon, or the end of the first, in a real instance."""

import dataclasses
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from dagster import DagsterEvent, DagsterEventType, DagsterInstance, DagsterRun, DagsterRunStatus
from dagster_k8s import K8sRunLauncher

from orchestrator_cluster import job_starts
from orchestrator_cluster.cluster_errors import ClusterAway
from orchestrator_cluster.lost_starts import LOST_SECONDS, TRIES
from orchestrator_cluster.run_launcher import AgentRunLauncher
from orchestrator_cluster.run_watch import RunWatch
from tests.integration.api_servers import BINDINGS, ApiServer, Launch, Platform, api_server, launched


@dataclasses.dataclass
class Started:
    """A run that a daemon has started."""

    instance: DagsterInstance
    api: ApiServer
    now: float = 1_000.0

    @property
    def launcher(self) -> AgentRunLauncher:
        found = self.instance.run_launcher
        assert isinstance(found, AgentRunLauncher)
        return found

    @property
    def run(self) -> DagsterRun:
        (run,) = self.instance.get_runs()
        return run

    @property
    def status(self) -> DagsterRunStatus:
        return self.run.status

    def start_again(self) -> None:
        """Start the run as a second daemon does."""
        self.launcher.launch_run(SimpleNamespace(dagster_run=self.run))

    def look(self, seconds: float = 0) -> None:
        """Have the watch look, at first and after some time."""
        watching = RunWatch(self.instance, self.launcher, lambda: self.now)
        watching.look()
        self.now += seconds
        watching.look()

    def told(self, words: str) -> list[str]:
        return [entry.message for entry in self.instance.all_logs(self.run.run_id) if words in entry.message]


@pytest.fixture(scope="module")
def launch(tmp_path_factory: pytest.TempPathFactory) -> Launch:
    return launched(tmp_path_factory.mktemp("launched"), "one_agent", BINDINGS)


@pytest.fixture
def started(tmp_path: Path, launch: Launch, monkeypatch: pytest.MonkeyPatch) -> Iterator[Started]:
    monkeypatch.setattr(job_starts, "_PAUSE_SECONDS", 0.05)
    with api_server() as api:
        platform = Platform(tmp_path, api, BINDINGS, launch)
        queued = platform.home / "dagster.yaml"
        settings: dict[str, Any] = yaml.safe_load(queued.read_text())
        settings["run_coordinator"]["class"] = "QueuedRunCoordinator"
        queued.write_text(yaml.safe_dump(settings))
        with DagsterInstance.from_config(str(platform.home)) as instance:
            yield Started(instance, api)


def test_a_second_daemon_starts_no_second_pod_and_fails_no_run(started: Started) -> None:
    started.start_again()
    assert len(started.api.jobs) == 1 and started.status is DagsterRunStatus.STARTING
    assert started.told("The run's job is there already: this start changes nothing.")


def test_a_job_of_the_same_name_that_is_not_the_runs_own_is_refused(started: Started) -> None:
    started.api.jobs[0][1]["metadata"]["labels"]["dagster/run-id"] = "another"
    with pytest.raises(ClusterAway, match="409"):
        started.start_again()


def test_a_run_starts_when_an_api_server_is_there_again(started: Started) -> None:
    started.api.jobs.clear()
    started.api.away = True
    starting = threading.Thread(target=started.start_again)
    starting.start()
    until = time.monotonic() + 30
    while not started.told("waits for the API server") and time.monotonic() < until:
        time.sleep(0.05)
    assert starting.is_alive() and not started.api.jobs
    started.api.away = False
    starting.join(30)
    assert len(started.api.jobs) == 1 and len(started.told("waits for the API server")) == 1


def test_a_run_that_was_ended_is_not_started_when_an_api_server_is_there_again(started: Started) -> None:
    started.api.jobs.clear()
    started.api.away = True

    def end_it() -> None:
        until = time.monotonic() + 30
        while not started.told("waits for the API server") and time.monotonic() < until:
            time.sleep(0.05)
        started.instance.report_run_canceled(started.run)

    ending = threading.Thread(target=end_it)
    ending.start()
    with pytest.raises(job_starts.StartGivenUp):
        started.start_again()
    ending.join()
    assert not started.api.jobs and started.status is DagsterRunStatus.CANCELED


def test_an_api_server_that_is_away_is_no_reason_to_end_a_run(started: Started) -> None:
    started.api.away = True
    health = started.launcher.check_run_worker_health(started.run)
    assert health.status.value == "RUNNING" and "503" in health.msg


def test_the_health_of_a_run_is_what_dagsters_own_launcher_says(started: Started) -> None:
    jobs: list[dict[str, int]] = [{"active": 1}, {"succeeded": 1}, {"failed": 1}, {"failed": 1, "active": 1}]
    told = list[str]()
    for job in jobs:
        started.api.jobs[0][1]["status"] = job
        own = started.launcher.check_run_worker_health(started.run)
        stock: Any = K8sRunLauncher.check_run_worker_health(started.launcher, started.run)
        assert type(own) is type(stock) and own.status is stock.status
        told.append(own.status.value)
    assert told == ["RUNNING", "SUCCESS", "FAILED", "RUNNING"]
    started.api.jobs.clear()
    health = started.launcher.check_run_worker_health(started.run)
    assert health.status.value == "NOT_FOUND" and "somebody removed it" in health.msg


def test_a_start_that_was_lost_with_its_daemon_is_queued_again(started: Started) -> None:
    started.api.jobs.clear()
    started.look(LOST_SECONDS - 1)
    assert started.status.value == "STARTING", "a daemon may be about to make the job"
    started.look(LOST_SECONDS)
    assert started.status.value == "QUEUED"
    assert started.told("The run's start was lost")


def test_a_run_whose_pod_no_node_took_is_queued_again(started: Started) -> None:
    job = started.api.jobs[0][1]
    owner = {"kind": "Job", "name": job["metadata"]["name"], "controller": True}
    labels = {**job["spec"]["template"]["metadata"]["labels"], "job-name": job["metadata"]["name"]}
    metadata = {
        "name": "pod",
        "namespace": "acme-runs",
        "uid": "1",
        "ownerReferences": [owner],
        "labels": labels,
    }
    why = "Pod was rejected: The node had condition: [DiskPressure]"
    status = {"phase": "Failed", "reason": "Evicted", "message": why}
    started.api.pods = [{"metadata": metadata, "spec": {}, "status": status}]
    started.look(LOST_SECONDS)
    assert len(started.api.deleted) == 1 and started.status.value == "QUEUED"
    assert len(started.told(why)) == 1


def test_a_start_that_is_lost_again_and_again_fails(started: Started) -> None:
    started.api.jobs.clear()
    for _ in range(TRIES):
        started.look(LOST_SECONDS)
        started.instance.report_dagster_event(_starting(started.run), started.run.run_id)
    started.look(LOST_SECONDS)
    assert started.status.value == "FAILURE"
    assert started.told(f"The run cannot go on: its job was lost {TRIES} times")


def test_a_start_is_not_lost_whose_job_is_there_or_may_be(started: Started) -> None:
    started.look(LOST_SECONDS * 10)
    assert started.status.value == "STARTING"
    started.api.jobs.clear()
    started.api.away = True
    started.look(LOST_SECONDS * 10)
    assert started.status.value == "STARTING"


def test_a_job_that_ended_before_its_run_began_fails_the_run(started: Started) -> None:
    started.api.jobs[0][1]["status"] = {"succeeded": 1}
    started.look(LOST_SECONDS)
    assert started.status.value == "FAILURE" and started.told("is over, and the run never began")


def _starting(run: DagsterRun) -> Any:
    return DagsterEvent(event_type_value=DagsterEventType.PIPELINE_STARTING.value, job_name=run.job_name)
