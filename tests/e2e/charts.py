"""An installation by the Helm chart: a release in one namespace, a team in another, and a model beside it."""

import json
import secrets
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from orchestrator_tools.chart.files import CHART
from orchestrator_tools.cluster.commands import run
from orchestrator_tools.cluster.debian import tree_environment, unpacked_packages
from orchestrator_tools.cluster.lifecycle import inside
from orchestrator_tools.cluster.places import places
from orchestrator_tools.cluster.records import node_process
from tests.e2e.kubectl import Namespace, kubectl
from tests.e2e.namespaces import restricted_namespace
from tests.e2e.platform_objects import SCRIPTED, deployment, secret, service_of
from tests.e2e.platforms import PROGRAMS, Platform, Run
from tests.helm.charts import helm, merged

RELEASE: Final = "agents"
WAIT_SECONDS: Final = 400
RUN_SECONDS: Final = 900.0
MODELS: Final = {"quick": 0.1, "slow": 15.0}
"""Models by name, with the seconds that an answer takes."""

SMALL: Final = {"cpu": "20m", "memory": "512Mi"}

POSTGRESQL: Final = """
import os, pathlib, subprocess, sys
programs, told = pathlib.Path(sys.argv[1]), os.environ
data, secret = pathlib.Path(told["PGDATA"]), pathlib.Path("/tmp/password")
if not data.exists():
    secret.write_text(told["POSTGRES_PASSWORD"])
    words = [f"--username={told['POSTGRES_USER']}", f"--pwfile={secret}", "--auth=scram-sha-256", "--no-sync"]
    subprocess.run([programs / "initdb", *words, "--encoding=UTF8", "-D", data], check=True)
    with (data / "pg_hba.conf").open("a") as rules:
        rules.write("host all all all scram-sha-256\\n")
    made = f"CREATE DATABASE {told['POSTGRES_DB']};\\n"
    subprocess.run([programs / "postgres", "--single", "-D", data, "postgres"], input=made, text=True, check=True)
settings = ["listen_addresses=*", "fsync=off", "max_connections=200", "shared_buffers=32MB"]
words = [word for setting in settings for word in ("-c", setting)] + sys.argv[3:]
os.execv(programs / "postgres", [programs / "postgres", "-D", data, "-k", "/var/run/postgresql", *words])
"""
"""Follows the variables of the official image with the PostgreSQL of a wheel, and takes words after `postgres`."""

_LOCATIONS: Final = (
    "{ workspaceOrError { ... on Workspace { locationEntries { locationOrLoadError { __typename } } } } }"
)


def platform_values(
    images: Mapping[str, str], models: str, peer: Mapping[str, Any], gateways: int
) -> dict[str, Any]:
    """Return the values of a small platform with a database of the chart's own, without tenants.

    Args:
        images: By what they are.
        models: Name of the host of the scripted models.
        peer: Who that is, as a NetworkPolicy says it.
        gateways: How many there are.
    """
    upstreams = {name: {"base_url": f"http://{models}:8080/m/{name}/v1"} for name in MODELS}
    aliases = {name: {"targets": [{"upstream": name, "model": name}]} for name in MODELS}
    return {
        "gateway": {
            "image": images["gateway"],
            "replicas": gateways,
            "resources": SMALL,
            "secret": {"name": "gateway", "key": "secret"},
            "configuration": {"upstreams": upstreams, "models": aliases},
            "calls": [{"to": [peer], "ports": [8080]}],
        },
        "daemon": {"image": images["dagster"], "resources": SMALL, "watch": SMALL},
        "webServer": {"image": images["web"], "resources": SMALL},
        "runs": {"pollSeconds": 5},
        "postgresql": {
            "passwordSecret": {"name": "postgresql", "key": "password"},
            "own": {
                "image": images["postgres"],
                "command": ["python3", "-c", POSTGRESQL, PROGRAMS],
                "resources": SMALL,
                "userId": 65_534,
                "ephemeral": True,
                "storage": "1Gi",
            },
        },
    }


class ChartPlatform(Platform):
    """What the chart installs.

    Args:
        namespace: Of the release; empty.
        team: Namespace of the team.
        images: By what they are.
    """

    web = f"deployment/{RELEASE}-web"

    def __init__(self, namespace: Namespace, team: Namespace, images: Mapping[str, str]) -> None:
        """Install it."""
        self.team, self.images = team, images
        super().__init__(namespace, images)

    def values(self) -> dict[str, Any]:
        """Return the values of the first installation."""
        return {
            **platform_values(
                self.images, "scripted", {"podSelector": {"matchLabels": {"app": "scripted"}}}, 2
            ),
            "tenants": {"acme": {"namespace": self.team.name, "createNamespace": False}},
            "locations": {
                "trials": {
                    "tenant": "acme",
                    "image": self.images["location"],
                    "module": "trials",
                    "server": SMALL,
                    "run": SMALL,
                    "guest": SMALL,
                    "images": {"langgraph": self.images["langgraph"], "agno": self.images["agno"]},
                }
            },
        }

    def launch(self, location: str, job: str, **more: Any) -> str:
        """Launch a job when the web server knows all code locations: it asks again every ten seconds."""
        self.until(self._knows_all, WAIT_SECONDS, "the web server knows all code locations")
        return super().launch(location, job, **more)

    def ends(self, run_id: str, status: str, seconds: float = RUN_SECONDS) -> Run:
        """Wait until a run is over, as `Platform` does; longer, since all else is replaced meanwhile."""
        return super().ends(run_id, status, seconds)

    def upgrade(
        self, *changes: Mapping[str, Any], seconds: int = WAIT_SECONDS, words: tuple[str, ...] = ()
    ) -> None:
        """Install or upgrade to the first values with changes, and wait until all pods serve.

        Raises:
            Refused: Helm, or the cluster, does not do it.
        """
        namespace = f"--namespace={self.namespace.name}"
        options = ("--install", namespace, "--values=-", "--wait", f"--timeout={seconds}s", *words)
        text = json.dumps(merged(self.values(), *changes))
        helm("upgrade", RELEASE, CHART, *options, text=text, seconds=2 * seconds + 60)

    def helm(self, command: str, *words: str) -> str:
        """Run a command of Helm on the release."""
        return helm(command, RELEASE, *words, f"--namespace={self.namespace.name}", seconds=WAIT_SECONDS + 60)

    def pods(self, run_id: str) -> list[dict[str, Any]]:
        """Return the pods of a run."""
        found: list[dict[str, Any]] = json.loads(
            self.team.ask("get", "pods", f"--selector=dagster/run-id={run_id}", "--output=json")
        )["items"]
        return found

    def described(self, run_id: str) -> str:
        """Return what the cluster says of a run's pods, and what they printed."""
        selector = f"--selector=dagster/run-id={run_id}"
        logs = self.team.ask("logs", selector, "--all-containers", "--tail=30", "--ignore-errors")
        return f"{self.team.ask('describe', 'pods', selector)[-5_000:]}\n{logs}"

    def _knows_all(self) -> bool:
        entries = self.ask(_LOCATIONS)["workspaceOrError"]["locationEntries"]
        return all(entry["locationOrLoadError"]["__typename"] == "RepositoryLocation" for entry in entries)

    def _deploy(self) -> None:
        for namespace in (self.namespace, self.team):
            namespace.create(
                secret("gateway", {"secret": self._key}), secret("postgresql", {"password": self._key})
            )
        scripted = ["python", "-c", SCRIPTED, *(f"{name}={seconds}" for name, seconds in MODELS.items())]
        self.namespace.create(
            deployment("scripted", self.images["gateway"], scripted, port=8080), service_of("scripted", 8080)
        )
        self.namespace.wait("deployment/scripted", "condition=Available", WAIT_SECONDS)
        self.upgrade()

    _key: Final = secrets.token_hex(32)


@contextmanager
def installed(images: Mapping[str, str]) -> Generator[ChartPlatform]:
    """Have an installation; all of it goes at the end of the block."""
    with restricted_namespace() as namespace, restricted_namespace() as team:
        yield ChartPlatform(namespace, team, images)


def left_of(release: str, namespace: str) -> str:
    """Return what the cluster still has of a release in a namespace; empty when there is nothing."""
    kinds = "all,configmaps,serviceaccounts,roles,rolebindings,networkpolicies,poddisruptionbudgets,resourcequotas"
    selector = f"--selector=app.kubernetes.io/instance={release},app.kubernetes.io/managed-by=Helm"
    return kubectl("get", kinds, f"--namespace={namespace}", selector, "--output=name", "--ignore-not-found")


def another_name(images: Mapping[str, str]) -> str:
    """Return a second name, in the same repository, of the image with definitions.

    Another cluster than the test cluster has it by itself, as `location_again` in the file of `E2E_IMAGES`.
    """
    if (named := images.get("location_again")) is not None:
        return named
    node = node_process(places())
    assert node is not None, "the test cluster is not up"
    name = f"{images['location']}-again"
    words = ("ctr", "--namespace=k8s.io", "images", "tag", "--force", images["location"], name)
    run(
        [*inside(node, "--mount"), *words],
        seconds=60,
        environment=tree_environment(unpacked_packages(places().cache)),
    )
    return name
