"""The web server of two tenants over one PostgreSQL, asked in process by whoever a test says."""

import contextlib
import json
import warnings
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from dagster import DagsterInstance
from dagster._core.workspace.load_target import CompositeTarget, PythonFileTarget
from starlette.types import ASGIApp, Receive, Scope, Send

from orchestrator_tenancy.identities import SCOPE_KEY, Identity, Role
from orchestrator_tenancy.web.contexts import TenantProcessContext
from orchestrator_tenancy.web.servers import TenantWebserver
from tests.integration.tenant_directories import Directory
from tests.integration.tenant_locations import LOCATIONS, write_location

with warnings.catch_warnings():
    # it says to install the successor of httpx, which nothing here needs
    warnings.simplefilter("ignore")
    from starlette.testclient import TestClient

WHO: Final = "x-who"
JSON: Final = {"content-type": "application/json"}

TENANTS: Final[dict[str, Any]] = {
    "organisations": {"shops": {"title": "Shops"}},
    "plans": {"team": {}},
    "tenants": {
        tenant: {"organisation": "shops", "plan": "team", "locations": {location: {}}}
        for tenant, location in LOCATIONS.items()
    },
}


class _SignedIn:
    """Leaves who asks in the scope, as the sign-in does: a header `TENANT/ROLE` names them; `/operator` sees all."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        who = dict(scope.get("headers", ())).get(WHO.encode())
        if who:
            tenant, _, role = who.decode().partition("/")
            scope[SCOPE_KEY] = Identity(
                subject="user:x#1",
                name=f"{tenant or 'an'} {role}",
                role=Role(role),
                tenant=tenant or None,
                session="1",
            )
        await self._app(scope, receive, send)


@dataclass(frozen=True)
class Web:
    """A server, and what is behind it."""

    client: Any
    server: TenantWebserver
    process: TenantProcessContext
    instance: DagsterInstance
    directory: Directory
    database: str

    def post(self, who: str, query: str, variables: Mapping[str, Any] | None = None) -> Any:
        """Ask GraphQL and return the response."""
        body = json.dumps({"query": query, "variables": variables or {}})
        return self.client.post("/graphql", content=body, headers={**JSON, WHO: who})

    def ask(self, who: str, query: str, **variables: Any) -> Any:
        """Return the data of an answer without errors."""
        told = self.post(who, query, variables).json()
        assert "errors" not in told, told
        return told["data"]

    def get(self, who: str, path: str, **headers: str) -> Any:
        """Return the response to GET."""
        return self.client.get(path, headers={WHO: who, **headers} if who else headers)

    def websocket(self, who: str, **headers: str) -> Any:
        """Connect for subscriptions."""
        return self.client.websocket_connect(
            "/graphql", subprotocols=["graphql-ws"], headers={WHO: who, **headers} if who else headers
        )


@contextlib.contextmanager
def tenant_web(
    folder: Path,
    database: str,
    coordinator: tuple[str, str] = ("dagster._core.run_coordinator", "QueuedRunCoordinator"),
) -> Generator[Web]:
    """Serve the locations of alpha and beta; beta's lies.

    Args:
        folder: Gets all files.
        database: Of the instance.
        coordinator: Module and class of what takes runs.
    """
    storage = {"postgres": {"postgres_url": database}}
    coordinated = {
        "module": coordinator[0],
        "class": coordinator[1],
        "config": {
            "max_concurrent_runs": 7,
            "tag_concurrency_limits": [
                {"key": "dagster/code_location", "value": location, "limit": 3}
                for location in LOCATIONS.values()
            ],
        },
    }
    home = folder / "home"
    home.mkdir()
    overrides: dict[str, Any] = {
        "storage": storage,
        "run_coordinator": coordinated,
        "telemetry": {"enabled": False},
    }
    target = CompositeTarget(
        targets=[
            PythonFileTarget(
                python_file=str(write_location(folder, tenant, "alpha" if tenant == "beta" else None)),
                attribute=None,
                working_directory=str(folder),
                location_name=location,
            )
            for tenant, location in LOCATIONS.items()
        ]
    )
    directory = Directory(TENANTS)
    with (
        DagsterInstance.local_temp(str(home), overrides=overrides) as instance,
        TenantProcessContext(instance, directory, workspace_load_target=target, version="0") as process,
    ):
        server = TenantWebserver(process)
        # the tests' operations are large, and validating them is none of what is tested
        vars(server)["_graphql_validation_rules"] = ()
        served: Any = server
        app = _SignedIn(served.create_asgi_app())
        with TestClient(app, base_url="http://web.test", raise_server_exceptions=False) as client:
            yield Web(
                client=client,
                server=server,
                process=process,
                instance=instance,
                directory=directory,
                database=database,
            )
