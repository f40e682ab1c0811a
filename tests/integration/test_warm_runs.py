"""Warm pods, in a real instance: the process that their container runs, and what is asked of the API server."""

import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from dagster import DagsterInstance, DagsterRun, DagsterRunStatus
from dagster_shared.record import as_dict  # pyright: ignore[reportUnknownVariableType]

from orchestrator_cluster.lost_starts import LOST_SECONDS
from orchestrator_cluster.run_launcher import AgentRunLauncher
from orchestrator_cluster.run_watch import RunWatch
from orchestrator_cluster.warm_keeper import REST_SECONDS, YIELD_SECONDS, Waiting, WarmKeeper
from tests.integration.api_servers import (
    BINDINGS,
    LOCATION,
    ApiServer,
    Launch,
    Platform,
    api_server,
    launched,
)

SECONDS = 120.0
JOBS = "/apis/batch/v1/namespaces/acme-runs/jobs"
WARM = {**LOCATION, "warm": {"size": 1, "seconds": 600}}
KEPT_WARM = {**BINDINGS, "locations": {"definitions.py": WARM}}


class Pool:
    """A location whose last run was one of `plain_job`, and whoever keeps its warm pods."""

    def __init__(self, platform: Platform, instance: DagsterInstance, api: ApiServer) -> None:
        self.platform, self.instance, self.api = platform, instance, api
        self.clock = 0.0
        found = instance.run_launcher
        assert isinstance(found, AgentRunLauncher)
        self.launcher = found
        self.keeper = WarmKeeper(instance, found, lambda: time.time() + self.clock)
        self.processes = list[subprocess.Popen[str]]()

    @property
    def jobs(self) -> list[Any]:
        """The jobs of warm pods that there are."""
        return [job for _, job in self.api.jobs if "orchestrator/warm" in job["metadata"]["labels"]]

    def job_of(self, run: DagsterRun) -> str | None:
        """Return the job of the warm pod that executes a run; None where none does."""
        return self.launcher.warm.starts.job_of(run.run_id)

    @property
    def run(self) -> DagsterRun:
        """The latest run."""
        return self.instance.get_runs()[0]

    def launch(self, instance: DagsterInstance | None = None) -> DagsterRun:
        """Launch one more run like the first, as the daemon does; an instance of its own has read the bindings anew."""
        first = self.instance.get_runs()[-1]
        own: dict[str, Any] = {
            "run_id": str(uuid.uuid4()),
            "tags": {},
            "status": DagsterRunStatus.NOT_STARTED,
        }
        known: dict[str, Any] = dict(as_dict(first))  # pyright: ignore[reportUnknownArgumentType]
        run = DagsterRun(**{**known, **own})
        self.instance.add_run(run)
        (instance or self.instance).launch_run(run.run_id, None)  # type: ignore[arg-type]
        return self.run

    def look(self, **waiting: Waiting) -> None:
        self.keeper.look(waiting)

    def serve(self, job: Any, state: str = "running") -> None:
        """Let the API server tell of a job's pod."""
        metadata = job["metadata"]
        owner = {"kind": "Job", "name": metadata["name"], "controller": True}
        statuses = [{"name": "dagster", "state": {state: {"exitCode": 1}}}]
        self.api.pods.append(
            {
                "metadata": {
                    **metadata,
                    "name": f"{metadata['name']}-x",
                    "ownerReferences": [owner],
                    "labels": {**metadata["labels"], "job-name": metadata["name"]},
                },
                "spec": {},
                "status": {"phase": "Running", "containerStatuses": statuses},
            }
        )

    def start(self, job: Any) -> subprocess.Popen[str]:
        """Start what the container of a job's pod runs."""
        (container,) = job["spec"]["template"]["spec"]["containers"]
        assert container["args"][0] == "python"
        process = subprocess.Popen(
            [sys.executable, *container["args"][1:]],
            env={**os.environ, "DAGSTER_HOME": str(self.platform.home)},
            cwd=self.platform.home.parent,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.processes.append(process)
        return process

    def waits(self, job: Any) -> None:
        """Start a job's pod, and wait until it waits for a run."""
        self.serve(job)
        process, name = self.start(job), job["metadata"]["name"]
        claims = self.launcher.warm.claims
        until(lambda: process.poll() is not None or name in claims.of("acme-runs"), f"{name} waits")
        assert process.poll() is None, process.communicate()[0]

    def ended(self, process: subprocess.Popen[str]) -> tuple[int, str]:
        said, _ = process.communicate(timeout=SECONDS)
        return process.returncode, said


def until(holds: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + SECONDS
    while not holds():
        assert time.monotonic() < end, f"not within {SECONDS} s: {what}"
        time.sleep(0.1)


@pytest.fixture(scope="module")
def launch(tmp_path_factory: pytest.TempPathFactory) -> Launch:
    return launched(tmp_path_factory.mktemp("launched"), "plain_job", KEPT_WARM)


@pytest.fixture
def pool(tmp_path: Path, launch: Launch) -> Iterator[Pool]:
    with api_server() as api:
        platform = Platform(tmp_path, api, KEPT_WARM, launch)
        with DagsterInstance.from_config(str(platform.home)) as instance:
            made = Pool(platform, instance, api)
            yield made
            for process in made.processes:
                process.kill()
                process.communicate()


def test_a_run_is_executed_by_the_process_that_waited_for_it(pool: Pool) -> None:
    assert pool.job_of(pool.run) is None, "nothing waited for the first"
    pool.look()
    (job,) = pool.jobs
    assert job["metadata"]["labels"]["app.kubernetes.io/component"] == "run_worker"
    cold = pool.api.jobs[0][1]["spec"]["template"]["spec"]
    pool.waits(job)
    pool.look()
    assert pool.jobs == [job], "what is there is kept"
    posted = len(pool.api.jobs)
    pool.launch()
    status, said = pool.ended(pool.processes[0])
    assert status == 0, said
    assert pool.job_of(pool.run) == job["metadata"]["name"], said
    assert len(pool.api.jobs) == posted, "no further pod is made for it"
    assert pool.run.status is DagsterRunStatus.SUCCESS, said
    ((path, labels),) = pool.api.labelled
    assert labels == {"dagster/run-id": pool.run.run_id} and path.endswith(
        f"/pods/{job['metadata']['name']}-x"
    )
    told = [entry.message for entry in pool.instance.all_logs(pool.run.run_id)]
    assert any("in a pod that waited for it" in message for message in told)
    own, forked = (
        next(message for message in told if words in message)
        for words in ("parent process (pid", "executed below")
    )
    assert f"pid: {pool.processes[0].pid}" in own
    assert not forked.endswith(f" {pool.processes[0].pid}"), "the step was forked from another process"

    spec = job["spec"]["template"]["spec"]
    ((mine,), (theirs,)) = spec["containers"], cold["containers"]
    own_words = {"args", "env"}
    assert {key: value for key, value in mine.items() if key not in own_words} == {
        key: value for key, value in theirs.items() if key not in own_words
    }
    assert {key: value for key, value in spec.items() if key != "containers"} == {
        key: value for key, value in cold.items() if key != "containers"
    }
    pool.api.jobs = [(path, one) for path, one in pool.api.jobs if one is not job]
    pool.api.pods = []
    pool.clock = 61  # what is over is forgotten once a minute
    pool.look()
    assert job["metadata"]["name"] not in pool.launcher.warm.claims.of("acme-runs")
    assert pool.launcher.warm.starts.known() == [pool.instance.get_runs()[-1].run_id], "the first is not over"


def test_a_pod_of_another_manifest_serves_no_run_and_is_replaced(pool: Pool) -> None:
    pool.look()
    (job,) = pool.jobs
    pool.waits(job)
    pool.platform.bind({**BINDINGS, "locations": {"definitions.py": {**WARM, "image": "acme:2"}}})
    with DagsterInstance.from_config(str(pool.platform.home)) as instance:
        run = pool.launch(instance)
        assert pool.job_of(run) is None and pool.api.job(f"{JOBS}/dagster-run-{run.run_id}")
        launcher = instance.run_launcher
        assert isinstance(launcher, AgentRunLauncher)
        WarmKeeper(instance, launcher).look({})
    (new,) = pool.jobs
    assert new["metadata"]["labels"]["orchestrator/warm"] != job["metadata"]["labels"]["orchestrator/warm"]
    assert pool.ended(pool.processes[0])[0] == 0, "it ends by itself when it is closed"


def test_a_pod_ends_when_it_is_too_old_or_told_to(pool: Pool) -> None:
    pool.look()
    (job,) = pool.jobs
    pool.waits(job)
    pool.clock = 601
    pool.look()
    assert [name for name in pool.api.deleted if job["metadata"]["name"] in name]
    assert pool.ended(pool.processes[0])[0] == 0
    pool.api.pods = []
    pool.clock = 0
    (new,) = pool.jobs
    pool.waits(new)
    pool.processes[1].send_signal(signal.SIGTERM)
    assert pool.ended(pool.processes[1])[0] == 0
    assert not pool.launcher.warm.claims.claim("acme-runs", new["metadata"]["name"], "any")


def test_a_run_that_was_taken_back_is_not_executed_by_the_pod_that_was_to_have_it(pool: Pool) -> None:
    run, warm = pool.run, pool.launcher.warm
    pool.look()
    (job,) = pool.jobs
    pool.waits(job)
    assert warm.claims.claim("acme-runs", job["metadata"]["name"], run.run_id)
    status, said = pool.ended(pool.processes[0])
    assert status == 0 and "is launched elsewhere by now" in said
    assert pool.run.status is DagsterRunStatus.STARTING


def test_runs_that_wait_have_the_room_of_warm_pods(pool: Pool) -> None:
    pool.look(run=Waiting("acme-runs", for_node=False))
    assert pool.jobs == []
    for elsewhere in (Waiting("others", for_node=False), Waiting("others", for_node=True)):
        pool.look(run=elsewhere)
        assert len(pool.jobs) == (0 if elsewhere.for_node else 1)
    pool.clock = YIELD_SECONDS
    pool.look(run=Waiting("others", for_node=True))
    assert len(pool.jobs) == 1, "what did not help is given up"


def test_what_cannot_be_made_is_told_once_and_tried_again_after_a_rest(
    pool: Pool, caplog: pytest.LogCaptureFixture
) -> None:
    for number in range(3):
        pool.look()
        if number == 0:
            (job,) = pool.jobs
            job["status"] = {}  # it is to have a pod, and has none
            message = 'Error creating: pods "x" is forbidden: exceeded quota'
            event = {"uid": job["metadata"]["uid"]}
            pool.api.events = [{"involvedObject": event, "message": message, "lastTimestamp": "1"}]
    assert pool.jobs == [] and len(pool.api.deleted) == 1
    told = [record.getMessage() for record in caplog.records if "exceeded quota" in record.getMessage()]
    assert len(told) == 1, told
    pool.clock = REST_SECONDS + 1
    pool.look()
    assert len(pool.jobs) == 1


def test_a_run_in_a_warm_pod_that_is_lost_fails_with_the_reason_and_is_ended_by_its_job(pool: Pool) -> None:
    pool.look()
    (job,) = pool.jobs
    name = job["metadata"]["name"]
    pool.serve(job)
    warm = pool.launcher.warm
    assert warm.claims.offer("acme-runs", name)
    run = pool.launch()
    assert warm.claims.run_of("acme-runs", name) == run.run_id
    assert warm.starts.take_up(run.run_id, name)
    assert pool.launcher.check_run_worker_health(run).status.value == "RUNNING"
    pool.api.pods = []
    pool.serve(job, "terminated")
    RunWatch(pool.instance, pool.launcher).look()
    assert pool.run.status is DagsterRunStatus.FAILURE
    assert any("the container 'dagster' ended" in e.message for e in pool.instance.all_logs(run.run_id))
    assert any(path.endswith(f"/jobs/{name}") for path in pool.api.deleted)


def test_a_pod_that_is_lost_before_it_takes_its_run_up_costs_the_run_nothing_but_time(pool: Pool) -> None:
    pool.look()
    (job,) = pool.jobs
    name = job["metadata"]["name"]
    pool.serve(job)
    warm = pool.launcher.warm
    assert warm.claims.offer("acme-runs", name)
    run = pool.launch()
    pool.api.pods = []
    pool.serve(job, "terminated")
    now = 1_000.0
    watching = RunWatch(pool.instance, pool.launcher, lambda: now)
    watching.look()
    assert pool.run.status is DagsterRunStatus.STARTING
    now += LOST_SECONDS
    watching.look()
    told = [entry.message for entry in pool.instance.all_logs(run.run_id)]
    assert any("its job was lost" in message for message in told), "there is no queue here"
    assert not warm.starts.take_up(run.run_id, name)


def test_a_run_that_is_terminated_removes_the_job_that_it_has_and_no_other(pool: Pool) -> None:
    pool.look()
    (job,) = pool.jobs
    name = job["metadata"]["name"]
    pool.serve(job)
    warm = pool.launcher.warm
    assert warm.claims.offer("acme-runs", name)
    run = pool.launch()
    assert warm.starts.take_up(run.run_id, name)
    first = pool.instance.get_runs()[-1]
    for one, removed in ((first, f"dagster-run-{first.run_id}"), (run, name)):
        assert pool.launcher.terminate(one.run_id)
        assert pool.api.deleted[-1].rsplit("/", 1)[1] == removed


def test_two_launchers_of_one_run_give_it_one_pod(pool: Pool) -> None:
    pool.look()
    (job,) = pool.jobs
    pool.serve(job)
    warm = pool.launcher.warm
    assert warm.claims.offer("acme-runs", job["metadata"]["name"])
    run = pool.launch()
    posted = len(pool.api.jobs)
    pool.instance.launch_run(run.run_id, None)  # type: ignore[arg-type]  # by a second daemon
    assert len(pool.api.jobs) == posted
    assert warm.claims.run_of("acme-runs", job["metadata"]["name"]) == run.run_id
