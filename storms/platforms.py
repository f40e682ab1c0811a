"""A whole platform on this machine: PostgreSQL, registry, marketplace, code server and daemons, each a process."""

import json
import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import yaml
from cryptography.hazmat.primitives.asymmetric import ec

from orchestrator_marketplace.signing_keys import load_private_key, write_key_pair
from orchestrator_resources.sqlite_state import SqliteState
from orchestrator_tenancy.tenant_store import TenantStore, applied
from orchestrator_tools.cluster.places import places
from orchestrator_tools.cluster.registry import registry_program
from storms.services import Service, answers, free_port, listens
from tests.integration.postgres_servers import PostgresServer, postgres_server

BIN: Final = Path(sys.executable).parent
ROOT: Final = Path(__file__).parents[1]

TENANT: Final = "acme"
PUBLISHER: Final = "acme"

_OURS: Final = ("DAGSTER_", "ORCHESTRATOR_", "PYTHON")
"""How variables begin that a platform has of its own."""

_RECORDING: Final = {
    "module": "tests.integration.queue_instances",
    "class": "RecordingLauncher",
}
_REGISTRY: Final = """\
version: 0.1
log: {{level: error}}
storage: {{filesystem: {{rootdirectory: {folder}}}, delete: {{enabled: true}}}}
http: {{addr: "127.0.0.1:{port}"}}
"""


class Platform:
    """See the module; everything is started by `start`, in the order of need, and ended by `close`.

    Args:
        folder: Of everything; empty.
        agents: Names of the agents that `acme` publishes; each is an asset of the tenant `acme`.
        daemons: How many; one of them works at a time.
        attributes: Further ones of each asset's component.
        variables: Further ones of code server and daemons.
        runs: Whether runs run; otherwise it is written down that they were started.
        managed: Folder of the tenant's managed location, in place of one asset for each agent.
    """

    def __init__(
        self,
        folder: Path,
        agents: Sequence[str],
        *,
        daemons: int = 3,
        attributes: Mapping[str, Any] | None = None,
        variables: Mapping[str, str] | None = None,
        runs: bool = False,
        managed: Path | None = None,
    ) -> None:
        """Write all settings."""
        self.folder, self.agents = folder, agents
        self._open = ExitStack()
        self.postgres: PostgresServer = self._open.enter_context(postgres_server())
        self.database: Final = self.postgres.database()
        self.home = folder / "dagster"
        self.home.mkdir()
        registry_port, market_port, code_port = free_port(), free_port(), free_port()
        self.registry_address = f"localhost:{registry_port}/agents"
        self.market_name = f"127.0.0.1:{market_port}"
        self.market_url = f"http://{self.market_name}"
        self._keys()
        self._plugin()
        self._instance(runs=runs, managed=managed is not None)
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(_OURS)},
            "PATH": f"{BIN}:{os.environ['PATH']}",
            "DAGSTER_HOME": str(self.home),
            "DAGSTER_DISABLE_TELEMETRY": "1",
            "ORCHESTRATOR_HOME": str(folder / "home"),
            "ORCHESTRATOR_MARKETPLACES": self.market_url,
            "PYTHONPATH": f"{folder / 'plugin'}:{ROOT}:{ROOT / 'tools'}",
            "STORM_LOCATION": json.dumps(
                {
                    "folder": str(folder),
                    "marketplace": self.market_url,
                    "agents": list(agents),
                    "attributes": dict(attributes or {}),
                }
            ),
            **(variables or {}),
        }
        if managed is not None:
            environment |= {
                "ORCHESTRATOR_TENANT": TENANT,
                "ORCHESTRATOR_DEFINITIONS": str(managed),
                "ORCHESTRATOR_MANAGED_SOURCES": self.market_url,
                "ORCHESTRATOR_MANAGED_TRUSTS_GUESTS": "1",
            }
        self.environment: Final[Mapping[str, str]] = environment
        self.registry = self._registry(registry_port, environment)
        self.market = self._market(market_port, environment)
        module = "storms.location" if managed is None else "orchestrator_tenancy.managed_definitions"
        code = ["dagster", "api", "grpc", "--module-name", module, "--host", "127.0.0.1"]
        self.code = Service(
            "code",
            folder,
            [str(BIN / code[0]), *code[1:], "--port", str(code_port), "--location-name", TENANT],
            environment,
            lambda: listens(code_port),
        )
        located = f"{{host: 127.0.0.1, port: {code_port}, location_name: {TENANT}}}"
        self.workspace = folder / "workspace.yaml"
        self.workspace.write_text(f"load_from:\n  - grpc_server: {located}\n")
        program = str(BIN / "orchestrator")
        daemon = [program, "daemon", "--workspace", str(self.workspace), "--log-level", "warning"]
        self.daemons = [Service(f"daemon-{number}", folder, daemon, environment) for number in range(daemons)]

    @property
    def services(self) -> Sequence[Service]:
        """All that is started again when it ends; the database is besides."""
        return [self.registry, self.market, self.code, *self.daemons]

    @property
    def launched(self) -> Path:
        """File of the ids of runs that were started, one a line; where runs do not run."""
        return self.folder / "launched"

    def start(self) -> None:
        """Start everything, and return when it serves and all sensors are on."""
        for service in (self.registry, self.market, self.code):
            service.start()
        for service in (self.registry, self.market, self.code):
            service.wait()
        sensors = Service(
            "sensors",
            self.folder,
            [str(BIN / "dagster"), "sensor", "start", "--start-all", "--workspace", str(self.workspace)],
            self.environment,
        )
        sensors.start()
        sensors.finished()
        for daemon in self.daemons:
            daemon.start()

    def close(self) -> None:
        """End everything."""
        for service in reversed(self.services):
            service.stop()
        self._open.close()

    def _keys(self) -> None:
        trust = self.folder / "trust"
        trust.mkdir()
        write_key_pair(self.folder / "acme.key", trust / "acme.pub")
        write_key_pair(self.folder / "operator.key", self.folder / "operator.pub")
        (trust / "trust.yaml").write_text(f"publishers: {{{PUBLISHER}: {{keys: [acme.pub]}}}}\n")

    def _plugin(self) -> None:
        """Install the fake framework, as any other package would bring one."""
        told = self.folder / "plugin" / "fake_framework-1.dist-info"
        told.mkdir(parents=True)
        (told / "METADATA").write_text("Metadata-Version: 2.1\nName: fake-framework\nVersion: 1\n")
        (told / "entry_points.txt").write_text(
            "[orchestrator.frameworks]\nfake = orchestrator_runtimes.conformance.fake:PROFILE\n"
        )

    @property
    def key(self) -> ec.EllipticCurvePrivateKey:
        """The publisher's."""
        return load_private_key(self.folder / "acme.key")

    @property
    def operator(self) -> ec.EllipticCurvePrivateKey:
        """The marketplace's operator's."""
        return load_private_key(self.folder / "operator.key")

    def _instance(self, *, runs: bool, managed: bool) -> None:
        settings: dict[str, Any] = {
            "telemetry": {"enabled": False},
            "storage": {"postgres": {"postgres_url": self.database}},
            "sensors": {"use_threads": True, "num_workers": 4},
            "run_coordinator": {
                "module": "orchestrator_tenancy.queue.seam_coordinator",
                "class": "FairRunCoordinator",
                "config": {"dequeue_interval_seconds": 1},
            },
        }
        if not runs:
            settings["run_launcher"] = {**_RECORDING, "config": {"file": str(self.launched)}}
            settings["concurrency"] = {"runs": {"max_concurrent_runs": -1}}
        (self.home / "dagster.yaml").write_text(yaml.safe_dump(settings))
        custom = {"kind": "custom", "image": "theirs:1", "module": "storms.location"}
        location = {"kind": "managed"} if managed else custom
        tenants = {
            "organisations": {"all": {"title": "All"}},
            "tenants": {
                TENANT: {"organisation": "all", "plan": "enterprise", "locations": {TENANT: location}}
            },
        }
        state = SqliteState(self.home / "control" / "tenants.db")
        TenantStore(state).change(lambda stored: applied(stored, tenants))
        state.close()

    def _registry(self, port: int, environment: Mapping[str, str]) -> Service:
        settings = self.folder / "registry.yaml"
        settings.write_text(_REGISTRY.format(folder=self.folder / "registry", port=port))
        program = registry_program(places().cache)
        return Service(
            "registry",
            self.folder,
            [str(program), "serve", str(settings)],
            environment,
            lambda: answers(f"http://127.0.0.1:{port}/v2/"),
        )

    def _market(self, port: int, environment: Mapping[str, str]) -> Service:
        settings = self.folder / "marketplace.yaml"
        told = {
            "name": self.market_name,
            "database": "catalogue.db",
            "operators": ["operator.pub"],
            "registries": [self.registry_address],
        }
        settings.write_text(yaml.safe_dump(told))
        serve = ["marketplace", "serve", "--config", str(settings), "--port", str(port)]
        command = [str(BIN / "orchestrator"), *serve]
        return Service(
            "market",
            self.folder,
            command,
            environment,
            lambda: answers(f"http://127.0.0.1:{port}/v1/events"),
        )
