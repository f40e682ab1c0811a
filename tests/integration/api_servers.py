"""An API server that takes jobs and tells of them, of pods and events; a Dagster instance whose runs go to it."""

import contextlib
import copy
import json
import os
import shutil
import subprocess
import threading
import urllib.parse
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import yaml

from tests.integration.command_lines import BIN

SECONDS = 100
DEFINITIONS = """\
import dagster as dg
from orchestrator_assets import AgentSpec, PortableSpec, agent_asset
from orchestrator_assets.execution_specs import GpuSpec
from orchestrator_resources.agent_runtimes import AGENT_RUNTIMES

def agent(key, framework, **more):
    spec = AgentSpec(framework=framework, portable=PortableSpec(instructions="Help."), prompt="hello", **more)
    return agent_asset(spec, asset=dg.AssetSpec(key))

@dg.asset(op_tags={"dagster-k8s/config": {"container_config": {"image": "mine"}}})
def wishes() -> None: ...

@dg.asset
def plain(context: dg.AssetExecutionContext) -> None:
    import os
    context.log.info(f"executed below {os.getppid()}")

defs = dg.Definitions(
    assets=[agent("one", "langgraph"), agent("two", "agno", gpu=GpuSpec(type="H100")), wishes, plain],
    jobs=[
        dg.define_asset_job("agents", ["one", "two"]),
        dg.define_asset_job("one_agent", ["one"]),
        dg.define_asset_job("tagged", ["one"], tags={"dagster-k8s/config": {"container_config": {"image": "mine"}}}),
        dg.define_asset_job("wished", ["wishes"]),
        dg.define_asset_job("plain_job", ["plain"]),
        dg.define_asset_job("misplaced", ["one"], tags={"orchestrator/namespace": "kube-system"}),
    ],
    resources={"agent_runtimes": AGENT_RUNTIMES},
)
"""
LOCATION = {
    "tenant": "acme",
    "namespace": "acme-runs",
    "service_account": "acme-runner",
    "image": "acme:1",
    "gateway_url": "http://gateway.platform:8900",
    "images": {"langgraph": "langgraph:1", "agno": "agno:1"},
    "max_gpus": 1,
    "gpu_types": ["H100"],
}
OTHERS = {**LOCATION, "tenant": "aaa", "namespace": "aaa-runs"}
BINDINGS = {
    "locations": {"definitions.py": LOCATION, "others": OTHERS},
    "gpus": [{"name": "H100", "memory_mb": 81_559}],
}


class ApiServer(ThreadingHTTPServer):
    """Takes jobs as an API server does, and keeps them."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.jobs: list[tuple[str, Any]] = []
        self.pods: list[Any] = []
        self.podless: list[Any] = []
        self.events: list[Any] = []
        self.deleted: list[str] = []
        self.how_deleted: list[str] = []
        self.labelled: list[tuple[str, Any]] = []
        self.away = False
        self.forbidden: set[str] = set()
        self.slow: threading.Event | None = None

    def job(self, path: str) -> Any:
        """Return a job that was made, by its path; None where there is none."""
        for where, body in self.jobs:
            if f"{where}/{body['metadata']['name']}" == path:
                return body
        return None

    def found(self, path: str, asked: Mapping[str, list[str]]) -> list[Any]:
        """Return what a request lists."""
        labels = asked.get("labelSelector", [""])[0].split(",")
        wanted = dict[str, str]()
        for label in filter(None, labels):
            key, _, value = label.partition("=")
            wanted[key] = value
        namespace = path.split("/")[-2]

        def fits(one: Any) -> bool:
            has = one["metadata"]["labels"]
            return one["metadata"]["namespace"] == namespace and all(
                key in has and value in ("", has[key]) for key, value in wanted.items()
            )

        if path.endswith("/jobs") and "fieldSelector" not in asked:
            return [job for _, job in self.jobs if fits(job)]
        fields = asked["fieldSelector"][0]
        if path.endswith("/events"):
            assert fields == "reason=FailedCreate,involvedObject.kind=Job"
            return self.events
        made = [
            body for where, body in self.jobs if where == path and "succeeded" not in body.get("status", {})
        ]
        kept = {"/pods": self.pods, "/jobs": [*self.podless, *made]}[path[path.rindex("/") :]]
        assert fields == ("status.phase!=Succeeded" if kept is self.pods else "status.successful=0")
        return [one for one in kept if fits(one)]


class Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        assert isinstance(self.server, ApiServer)
        job = json.loads(self.rfile.read(int(self.headers["content-length"])))
        made = datetime.now(UTC).isoformat(timespec="seconds")
        job["metadata"] |= {
            "namespace": self.path.split("/")[-2],
            "uid": job["metadata"]["name"],
            "creationTimestamp": made,
        }
        job["status"] = {"active": 1}
        if self.server.away:
            self._answer(503, b'{"message": "not now"}')
        elif self.server.job(f"{self.path}/{job['metadata']['name']}") is not None:
            self._answer(409, b'{"message": "it is there already"}')
        else:
            self.server.jobs.append((self.path, job))
            self._answer(201, json.dumps(job).encode())

    def do_PATCH(self) -> None:
        assert isinstance(self.server, ApiServer)
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.server.labelled.append((self.path, body["metadata"]["labels"]))
        self._answer(200, b"{}")

    def do_GET(self) -> None:
        assert isinstance(self.server, ApiServer)
        asked = urllib.parse.urlsplit(self.path)
        if self.server.away or self.server.forbidden & set(asked.path.split("/")):
            self._answer(503 if self.server.away else 403, b'{"message": "not now, or not you"}')
        elif asked.path.endswith("/status"):
            job = self.server.job(asked.path.removesuffix("/status"))
            self._answer(404 if job is None else 200, json.dumps(job or {"message": "not here"}).encode())
        else:
            found = self.server.found(asked.path, urllib.parse.parse_qs(asked.query))
            self._answer(200, json.dumps({"items": found}).encode())

    def do_DELETE(self) -> None:
        assert isinstance(self.server, ApiServer)
        asked = urllib.parse.urlsplit(self.path)
        self.server.deleted.append(asked.path)
        self.server.jobs = [
            (path, job) for path, job in self.server.jobs if f"{path}/{job['metadata']['name']}" != asked.path
        ]
        self.server.how_deleted.append(asked.query)
        if self.server.slow is not None:
            self.server.slow.wait(SECONDS)
        with contextlib.suppress(BrokenPipeError):
            self._answer(503 if self.server.away else 200, b"{}")

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@contextlib.contextmanager
def api_server() -> Generator[ApiServer]:
    """Serve until the end of a block."""
    with ApiServer() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@dataclass(frozen=True, kw_only=True)
class Launch:
    """A launch, whose outcome many tests begin with: it takes ten seconds.

    Attributes:
        home: Folder of the instance.
        jobs: Path and body of each job that the API server got.
    """

    home: Path
    jobs: Sequence[tuple[str, Any]]


def launched(folder: Path, job: str, bindings: Mapping[str, Any]) -> Launch:
    """Launch a job."""
    with api_server() as api:
        platform = Platform(folder, api, bindings)
        status, said = platform.launch(job)
        assert status == 0, said
        return Launch(home=platform.home, jobs=api.jobs)


class Platform:
    """An instance whose runs go to a cluster.

    Args:
        folder: Where it is; empty.
        api: The cluster.
        bindings: What locations may have.
        after: What was launched there; None for nothing.
    """

    def __init__(
        self, folder: Path, api: ApiServer, bindings: Mapping[str, Any], after: Launch | None = None
    ) -> None:
        self._folder, self._api, self.home = folder, api, folder / "home"
        (folder / "definitions.py").write_text(DEFINITIONS)
        cluster = {"name": "c", "cluster": {"server": f"http://127.0.0.1:{api.server_address[1]}"}}
        context = {"name": "c", "context": {"cluster": "c", "user": "u"}}
        (folder / "kubeconfig").write_text(
            yaml.safe_dump(
                {
                    "apiVersion": "v1",
                    "kind": "Config",
                    "clusters": [cluster],
                    "contexts": [context],
                    "users": [{"name": "u", "user": dict[str, str]()}],
                    "current-context": "c",
                }
            )
        )
        if after is None:
            self.home.mkdir()
        else:
            shutil.copytree(after.home, self.home)
            api.jobs = copy.deepcopy(list(after.jobs))
            for _, job in api.jobs:
                job["metadata"]["creationTimestamp"] = datetime.now(UTC).isoformat(timespec="seconds")
        self.bind(bindings)

    def bind(self, bindings: Mapping[str, Any]) -> None:
        """Say what locations may have from now on."""
        config = {
            "service_account_name": "unused",
            "instance_config_map": "instance",
            "dagster_home": "/opt/dagster",
            "load_incluster_config": False,
            "kubeconfig_file": str(self._folder / "kubeconfig"),
            "bindings": dict(bindings),
        }
        launcher = {
            "module": "orchestrator_cluster.run_launcher",
            "class": "AgentRunLauncher",
            "config": config,
        }
        (self.home / "dagster.yaml").write_text(
            yaml.safe_dump(
                {
                    "run_launcher": launcher,
                    "run_coordinator": {
                        "module": "dagster.core.run_coordinator",
                        "class": "DefaultRunCoordinator",
                    },  # no daemon here
                    "telemetry": {"enabled": False},
                }
            )
        )

    def launch(self, job: str, **environment: str) -> tuple[int, str]:
        """Launch a job; return the exit status and what was printed."""
        done = subprocess.run(
            [BIN / "dagster", "job", "launch", "-f", "definitions.py", "-j", job],
            check=False,
            cwd=self._folder,
            env={**os.environ, "DAGSTER_HOME": str(self._folder / "home"), **environment},
            capture_output=True,
            text=True,
            timeout=SECONDS,
        )
        return done.returncode, done.stdout + done.stderr

    def pod(self) -> Any:
        """Return the spec of the pod of the only job."""
        ((path, job),) = self._api.jobs
        assert path == "/apis/batch/v1/namespaces/acme-runs/jobs"
        return job["spec"]["template"]["spec"]
