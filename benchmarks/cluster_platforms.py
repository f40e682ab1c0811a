"""What runs are measured on: an installation by the Helm chart, as it comes, with scripted models beside it.

It is the one of the tests (`tests/e2e/charts.py`) with other definitions and models, and its web server is asked
through a port that is forwarded: a question costs no process there.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from base64 import b64decode
from collections.abc import Generator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypeGuard

import yaml

from benchmarks.endpoints import MARKER, end_server
from orchestrator_runtimes.conformance.scripts import Script
from tests.e2e.charts import RELEASE, WAIT_SECONDS, ChartPlatform
from tests.e2e.images import platform_images
from tests.e2e.kubectl import Namespace, kubectl
from tests.e2e.namespaces import make_restricted
from tests.e2e.platform_objects import deployment, secret, service_of
from tests.helm.charts import merged

PROJECT: Final = Path(__file__).with_name("cluster_project")
LOCATION: Final = "figures"
MODELS: Final = {"quick": 0.1, "second": 1.0, "slow": 600.0}
"""The scripted models, and the seconds that an answer of each takes."""

KEPT: Final = Path("var", "cluster-figures.json")
"""Names the namespaces of an installation that was kept."""

KEEP_HELP: Final = "keep the installation: the next benchmark with this option takes less time to begin"

_ASK_SECONDS: Final = 60.0
_ENDED: Final = ("SUCCESS", "FAILURE", "CANCELED")
_STATUSES: Final = (
    "query($filter: RunsFilter) { runsOrError(filter: $filter, limit: 1000)"
    " { ... on Runs { results { runId status } } ... on PythonError { message } } }"
)
_TIMES: Final = """
query($run: ID!) {
  runOrError(runId: $run) {
    ... on Run { creationTime startTime endTime stepStats { stepKey startTime endTime } }
  }
}
"""


class FiguresPlatform(ChartPlatform):
    """An installation whose location `figures` has the definitions of `cluster_project`.

    Args:
        namespace: Of the release.
        team: Namespace of the team.
        images: By what they are.
        changes: Of the chart's values.
        there: Whether it is installed already; it is upgraded then.
    """

    def __init__(
        self,
        namespace: Namespace,
        team: Namespace,
        images: Mapping[str, str],
        changes: Mapping[str, Any] | None = None,
        *,
        there: bool = False,
    ) -> None:
        """Install it, unless it is there, and wait until its web server knows all locations."""
        self._changes, self._there = changes or {}, there
        self._forwarded = contextlib.ExitStack()
        self._urls = dict[str, str]()
        super().__init__(namespace, team, images)
        self.until(self._knows_all, WAIT_SECONDS, "the web server knows all code locations")

    def values(self) -> dict[str, Any]:
        """Return the values of the installation."""
        usual = super().values()
        trials = usual["locations"].pop("trials")
        roomy = {"cpu": "20m", "memory": "1Gi"}
        figures = trials | {"module": "figures", "run": roomy, "guest": roomy}
        upstreams = {name: {"base_url": f"http://scripted:8080/m/{name}/v1"} for name in MODELS}
        models = {name: {"targets": [{"upstream": name, "model": name}]} for name in MODELS}
        own = {
            "locations": {LOCATION: figures},
            "gateway": {"configuration": {"upstreams": upstreams, "models": models}},
        }
        return merged(usual, own, self._changes)

    def ask(self, query: str, **variables: Any) -> dict[str, Any]:
        """Ask the web server."""
        told = _post(f"{self.url('web', 80)}/graphql", {"query": query, "variables": variables})
        assert "errors" not in told, told
        answer: dict[str, Any] = told["data"]
        return answer

    def url(self, service: str, port: int) -> str:
        """Return where a service of the release can be reached from here."""
        if service not in self._urls:
            name = service if service == "scripted" else f"{RELEASE}-{service}"
            self._urls[service] = self._forwarded.enter_context(
                forwarded(self.namespace, f"service/{name}", port)
            )
        return self._urls[service]

    def close(self) -> None:
        """End what forwards ports; they are forwarded anew when they are needed again."""
        self._urls.clear()
        self._forwarded.close()

    def statuses(self, runs: Sequence[str]) -> dict[str, str]:
        """Return the status of each run, by its id, as Dagster names it."""
        listed = self.ask(_STATUSES, filter={"runIds": list(runs)})["runsOrError"]["results"]
        return {str(one["runId"]): str(one["status"]) for one in listed}

    def all_end(self, runs: Sequence[str], seconds: float) -> dict[str, str]:
        """Wait until runs are over, and return the status of each.

        Raises:
            TimeoutError: Some are not.
        """
        until = time.monotonic() + seconds
        while True:
            statuses = self.statuses(runs)
            left = [run for run, status in statuses.items() if status not in _ENDED]
            if not left:
                return statuses
            if time.monotonic() > until:
                raise TimeoutError(f"{len(left)} of {len(runs)} runs are not over, such as {left[0]}")
            time.sleep(1)

    def times(self, run_id: str) -> dict[str, Any]:
        """Return when a run was asked for, began and ended, and each of its steps, in Unix seconds."""
        told: dict[str, Any] = self.ask(_TIMES, run=run_id)["runOrError"]
        return told

    def model_calls(self) -> list[dict[str, Any]]:
        """Return the requests that the scripted models got since the last reset, in order, without their bodies."""
        with urllib.request.urlopen(
            f"{self.url('scripted', 8080)}/admin/calls", timeout=_ASK_SECONDS
        ) as told:
            return list(json.load(told)["calls"])

    def forget_calls(self) -> None:
        """Have the scripted models forget their requests."""
        url = f"{self.url('scripted', 8080)}/admin/reset"
        urllib.request.urlopen(urllib.request.Request(url, method="POST"), timeout=_ASK_SECONDS).close()

    def database(self, address: str) -> str:
        """Return the URL of the database, where `address` (`host:port`) leads to its server."""
        held = self.namespace.get("secret", "postgresql")["data"]["password"]
        told = yaml.safe_load(self.namespace.get("configmap", f"{RELEASE}-instance")["data"]["dagster.yaml"])
        named = told["storage"]["postgres"]["postgres_db"]
        return f"postgresql://{named['username']}:{b64decode(held).decode()}@{address}/{named['db_name']}"

    def end_all(self) -> None:
        """End the runs that are not over."""
        going = {"statuses": ["QUEUED", "STARTING", "STARTED", "CANCELING"]}
        for run in self.ask(_STATUSES, filter=going)["runsOrError"]["results"]:
            self.terminate(run["runId"], force=True)

    def _deploy(self) -> None:
        words = ("get", "deployment", "scripted", "--output=name", "--ignore-not-found")
        if self._there and self.namespace.ask(*words):  # whatever a trial has changed in it
            self.upgrade(words=("--force-conflicts",))
            return
        for namespace in (self.namespace, self.team):
            namespace.create(
                secret("gateway", {"secret": self._key}), secret("postgresql", {"password": self._key})
            )
        scripts = [
            f"--script={name}={Script(latency=seconds, echo=MARKER).to_json()}"
            for name, seconds in MODELS.items()
        ]
        serving = ["python", "-m", "orchestrator_runtimes.conformance.model_endpoint", "--host=0.0.0.0"]
        self.namespace.create(
            deployment("scripted", self.images["gateway"], [*serving, "--port=8080", *scripts], port=8080),
            service_of("scripted", 8080),
        )
        self.namespace.wait("deployment/scripted", "condition=Available", WAIT_SECONDS)
        self.upgrade()


def platform_images_of_figures() -> dict[str, str]:
    """Return the whole names of the images of such an installation, which the cluster has then, by what they are."""
    return platform_images(PROJECT, "figures")


@contextlib.contextmanager
def figures_platform(
    changes: Mapping[str, Any] | None = None, images: Mapping[str, str] | None = None, *, keep: bool = False
) -> Generator[FiguresPlatform]:
    """Have an installation; all of it goes at the end of the block, unless it is to be kept.

    Args:
        changes: Of the chart's values.
        images: Those of `platform_images_of_figures`; None asks for them.
        keep: Whether the next one that asks finds it, whose chart is upgraded then.
    """
    images = images or platform_images_of_figures()
    kept = _kept()
    namespaces = kept or (make_restricted(), make_restricted())
    say(
        f"{'upgrading' if kept else 'installing'} the chart in {namespaces[0].name} (load {os.getloadavg()[0]:.1f})"
    )
    KEPT.parent.mkdir(exist_ok=True)
    KEPT.write_text(json.dumps([namespace.name for namespace in namespaces]))
    signal.signal(signal.SIGTERM, lambda _number, _frame: sys.exit("it was ended"))
    try:
        platform = FiguresPlatform(*namespaces, images, changes, there=kept is not None)
        with contextlib.closing(platform):
            if kept is not None:
                platform.end_all()
            yield platform
    finally:
        if not keep:
            remove_kept()


def remove_kept() -> None:
    """Remove the installation that was kept, if there is one."""
    for namespace in _kept() or ():
        kubectl("delete", "namespace", namespace.name, "--wait=false")
    KEPT.unlink(missing_ok=True)


def _kept() -> tuple[Namespace, Namespace] | None:
    """Return the namespaces of an installation that was kept, if they are there."""
    if not KEPT.is_file():
        return None
    release, team = json.loads(KEPT.read_text())
    words = ("get", "namespaces", release, team, "--output=name", "--ignore-not-found")
    return (Namespace(release), Namespace(team)) if len(kubectl(*words).splitlines()) == 2 else None


@contextlib.contextmanager
def forwarded(namespace: Namespace, what: str, port: int) -> Generator[str]:
    """Forward a port of a pod or service to one of this machine, and yield the URL of that.

    Raises:
        ConnectionError: It cannot be.
    """
    words = ["kubectl", f"--namespace={namespace.name}", "port-forward", what, f":{port}"]
    process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()  # Forwarding from 127.0.0.1:PORT -> PORT
        if not line:
            raise ConnectionError(f"{what} in {namespace.name} cannot be reached; kubectl said why")
        yield f"http://{line.split()[2]}"
    finally:
        end_server(process)
        assert process.stdout is not None
        process.stdout.close()


def say(line: str) -> None:
    """Tell of progress, beside the figures."""
    print(line, file=sys.stderr, flush=True)


def _post(url: str, body: Mapping[str, Any]) -> dict[str, Any]:
    request = urllib.request.Request(url, json.dumps(body).encode(), {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=_ASK_SECONDS) as answer:
        told: Any = json.load(answer)
    assert _is_object(told)
    return told


def _is_object(value: Any) -> TypeGuard[dict[str, Any]]:
    return isinstance(value, dict)
