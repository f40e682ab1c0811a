"""A platform of many tenants: an operator's files, what `orchestrator tenants` makes of them, and who asks it."""

import contextlib
import json
import os
import secrets
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import Any, Final

import yaml

from orchestrator_tools.chart.files import CHART
from tests.e2e.charts import MODELS, RELEASE, SMALL, WAIT_SECONDS, platform_values
from tests.e2e.kubectl import Namespace, kubectl
from tests.e2e.namespaces import restricted_namespace
from tests.e2e.platform_objects import POSTGRES, SCRIPTED, deployment, secret, service_of
from tests.e2e.platforms import PROGRAMS, Platform
from tests.helm.charts import program
from tests.integration.command_lines import run

POOL: Final = "orchestrator/tenant"
KEYS: Final = {"name": "tenant-keys", "key": "keys.json"}

_ASK: Final = """
import sys, urllib.error, urllib.request
where, told = "http://127.0.0.1:3000/graphql", {"content-type": "application/json", "authorization": sys.argv[1]}
asked = urllib.request.Request(where, sys.stdin.buffer.read(), told)
try:
    print(urllib.request.urlopen(asked, timeout=50).read().decode())
except urllib.error.HTTPError as error:
    sys.exit(f"{error}: {error.read().decode()}")
"""


class TenantPlatform(Platform):
    """What an operator has made: red is managed, blue has own Python and nodes, green an instance of its own.

    Args:
        namespace: Of the release that red and blue share; empty.
        own: Of green's release; empty.
        folder: Of the operator's files; empty.
        images: By what they are.
    """

    web = f"deployment/{RELEASE}-web"

    def __init__(self, namespace: Namespace, own: Namespace, folder: Path, images: Mapping[str, str]) -> None:
        """Make it."""
        self.own, self._folder, self._key = own, folder, secrets.token_hex(32)
        self._tokens = dict[str, str]()
        self._control = ""
        self.asks_for = "red"
        super().__init__(namespace, images)

    def tenants(self, *words: str, fails: bool = False) -> str:
        """Run `orchestrator tenants`, and return what it printed."""
        done = run("orchestrator", "tenants", *words, folder=self._folder, **self._environment())
        assert (done.returncode != 0) is fails, done.stdout + done.stderr
        return done.stdout + done.stderr

    @contextlib.contextmanager
    def asked_by(self, tenant: str) -> Generator[None]:
        """Ask with the token of a tenant within a block."""
        before, self.asks_for = self.asks_for, tenant
        try:
            yield
        finally:
            self.asks_for = before

    def team(self, tenant: str) -> Namespace:
        """Return the namespace of a tenant of the shared release."""
        return Namespace(f"{RELEASE}-{tenant}")

    def ask(self, query: str, **variables: Any) -> dict[str, Any]:
        """Ask the web server that red and blue share, with a token, from inside of its own pod."""
        text = json.dumps({"query": query, "variables": variables})
        words = ("exec", "--stdin", self.web, "--", "python", "-c", _ASK)
        told = json.loads(self.namespace.ask(*words, f"Bearer {self._token(self.asks_for)}", text=text))
        assert "errors" not in told, told
        answer: dict[str, Any] = told["data"]
        return answer

    def pods(self, run_id: str) -> list[dict[str, Any]]:
        """Return the pods of a run, in whichever namespace."""
        selector = f"--selector=dagster/run-id={run_id}"
        found: list[dict[str, Any]] = json.loads(
            kubectl("get", "pods", "--all-namespaces", selector, "--output=json")
        )["items"]
        return found

    def described(self, run_id: str) -> str:
        """Return what the cluster says of a run's pods."""
        return kubectl("describe", "pods", "--all-namespaces", f"--selector=dagster/run-id={run_id}")[-5_000:]

    def _deploy(self) -> None:
        for namespace in (self.namespace, self.own):
            namespace.create(
                secret("gateway", {"secret": self._key}),
                secret("postgresql", {"password": self._key}),
                secret("sign-in", {"SIGN_IN_SECRET": self._key}),
                secret(
                    "control",
                    {"url": f"postgresql://platform@control.{self.namespace.name}.svc:5432/postgres"},
                ),
            )
        scripted = ["python", "-c", SCRIPTED, *(f"{name}={seconds}" for name, seconds in MODELS.items())]
        self.namespace.create(
            deployment("scripted", self._images["gateway"], scripted, port=8080),
            service_of("scripted", 8080),
            deployment("control", self._images["postgres"], ["python3", "-c", POSTGRES, PROGRAMS], port=5432),
            service_of("control", 5432),
        )
        for name in ("scripted", "control"):
            self.namespace.wait(f"deployment/{name}", "condition=Available", WAIT_SECONDS)
        pods = json.loads(self.namespace.ask("get", "pods", "--selector=app=control", "--output=json"))
        self._control = f"postgresql://platform@{pods['items'][0]['status']['podIP']}:5432/postgres"
        (self._folder / "tenants.yaml").write_text(yaml.safe_dump(self._written()))
        (self._folder / "platform.yaml").write_text(yaml.safe_dump(self._platform()))
        (self._folder / "sign-in.yaml").write_text(yaml.safe_dump(self._sign_in()))
        master = self._folder / "master.secret"
        master.touch(0o600)
        master.write_text(secrets.token_hex(32))
        self.tenants("apply", "tenants.yaml")
        self.tenants("reconcile", "--platform", "platform.yaml")

    def _token(self, tenant: str) -> str:
        if tenant not in self._tokens:
            words = ("tokens", "create", "tests", "--tenant", tenant, "--role", "editor", "--days", "1")
            options = ("--config", "sign-in.yaml")
            done = run("orchestrator", *words, *options, folder=self._folder, **self._environment())
            assert done.returncode == 0, done.stderr
            self._tokens[tenant] = done.stdout.strip()
        return self._tokens[tenant]

    def _environment(self) -> dict[str, str]:
        return {
            "ORCHESTRATOR_CONTROL_URL": self._control,
            "SIGN_IN_SECRET": self._key,
            "ORCHESTRATOR_SIGN_IN": "sign-in.yaml",
            "ORCHESTRATOR_MASTER_SECRET_FILE": "master.secret",
            "PATH": f"{program().parent}:{os.environ['PATH']}",
        }

    def _written(self) -> dict[str, Any]:
        quotas = {"runs": 3, "queued_runs": 20, "gpus": 0}
        small = {"run": SMALL, "guest": SMALL}
        custom = {"kind": "custom", "image": self._images["location"], "module": "tenant_trials", **small}
        return {
            "organisations": {"acme": {"title": "Acme"}},
            "plans": {
                "shared": {"quotas": quotas},
                "nodes": {"quotas": quotas, "nodes": "dedicated", "custom_locations": True},
                "alone": {"quotas": quotas, "instance": "own", "custom_locations": True},
            },
            "tenants": {
                "red": {"organisation": "acme", "plan": "shared", "locations": {"red-agents": small}},
                "blue": {"organisation": "acme", "plan": "nodes", "locations": {"blue-trials": custom}},
                "green": {"organisation": "acme", "plan": "alone", "locations": {"green-trials": custom}},
            },
        }

    def _sign_in(self) -> dict[str, Any]:
        return {
            "url": "https://agents.example",
            "secret": {"env": "SIGN_IN_SECRET"},
            "provider": {"issuer": "https://sso.example", "client_id": "agents"},
        }

    def _platform(self) -> dict[str, Any]:
        here = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": self.namespace.name}}}
        small = platform_values(self._images, f"scripted.{self.namespace.name}.svc", here, 1)
        values = {
            **small,
            "gateway": {**small["gateway"], "tenantKeysSecret": KEYS},
            "control": {
                "urlSecret": {"name": "control", "key": "url"},
                "signIn": self._sign_in(),
                "environmentSecrets": ["sign-in"],
                "calls": [{"to": [here], "ports": [5432]}],
            },
        }
        return {
            "release": RELEASE,
            "namespace": self.namespace.name,
            "chart": str(CHART),
            "managed": {
                "image": self._images["location"],
                "images": {"langgraph": self._images["langgraph"], "agno": self._images["agno"]},
            },
            "values": values,
            "own": {"green": {"namespace": self.own.name}},
        }


@contextlib.contextmanager
def made_by_an_operator(folder: Path, images: Mapping[str, str]) -> Generator[TenantPlatform]:
    """Have such a platform; all of it goes at the end of the block, and so does the tenants' node."""
    node = json.loads(kubectl("get", "nodes", "--output=json"))["items"][0]["metadata"]["name"]
    kubectl("label", "node", node, f"{POOL}=blue", "--overwrite")
    try:
        with restricted_namespace() as namespace, restricted_namespace() as own:
            yield TenantPlatform(namespace, own, folder, images)
    finally:
        kubectl("label", "node", node, f"{POOL}-")
        # the chart keeps namespaces of tenants, since more than its own is in them
        names = [f"{RELEASE}-red", f"{RELEASE}-blue", f"{RELEASE}-green-green"]
        kubectl("delete", "namespace", "--ignore-not-found", "--wait=false", *names)
