"""No route, download, report or subscription reaches another tenant; each is shown to reach its owner's."""

import json
import queue
import threading
from collections.abc import Mapping
from typing import Any

import anyio
import pytest
from dagster._core.remote_representation.grpc_server_state_subscriber import (
    LocationStateChangeEvent,
    LocationStateChangeEventType,
)
from dagster_graphql.schema import create_schema
from graphql import GraphQLSchema
from starlette.websockets import WebSocketDisconnect

from orchestrator_tenancy.web.policy import ROUTES, SUBSCRIPTIONS
from tests.integration.graphql_selections import operation
from tests.integration.isolation_counts import Counts
from tests.integration.tenant_locations import LOCATIONS
from tests.integration.tenant_plants import Plants
from tests.integration.tenant_roots import BROKEN, logs, nested, subscriptions
from tests.integration.tenant_rows import changed, rows_about
from tests.integration.tenant_web import JSON, WHO, Web

# Dagster warns of much, such as the location that lies about whose its assets are; its server goes on
pytestmark = pytest.mark.filterwarnings("ignore")

Tenants = tuple[Web, Plants, Plants]

_SCHEMA: GraphQLSchema = create_schema().graphql_schema
_SECONDS = 3.0


def _paths(of: Plants) -> Mapping[str, list[str]]:
    """Return how each route is asked for a tenant's things by GET."""
    downloads = [f"/logs/{'/'.join(key)}/{kind}" for key in logs(of) for kind in ("out", "err")]
    return {
        "/": ["/"],
        "/dagit/notebook": [f"/dagit/notebook?repoLocName={of.location}&path=x.ipynb"],
        "/dagit_info": ["/dagit_info"],
        "/download_debug/{run_id:str}": [f"/download_debug/{of.run}", f"/download_debug/{of.assets_run}"],
        "/graphql": ["/graphql?query={runsOrError{__typename}}"],
        "/logs/{path:path}": downloads,
        "/notebook": [f"/notebook?repoLocName={of.location}&path=x.ipynb"],
        "/report_asset_check/{asset_key:path}": [],
        "/report_asset_materialization/{asset_key:path}": [],
        "/report_asset_observation/{asset_key:path}": [],
        "/server_info": ["/server_info"],
        "/{path:path}": [f"/runs/{of.run}", f"/locations/{of.location}"],
    }


@pytest.mark.parametrize("route", sorted(ROUTES))
def test_a_route_gives_nothing_of_another_tenant(route: str, two_tenants: Tenants, counts: Counts) -> None:
    web, alpha, _ = two_tenants
    counts.tried("routes", route)
    absent = alpha.absent()
    for path, unknown in zip(_paths(alpha)[route], _paths(absent)[route], strict=True):
        told = web.get("delta/tenant-admin", path)
        counts.reached("reads", told.content.count(alpha.secret.encode()))
        assert alpha.secret.encode() not in told.content
        other = web.get("delta/tenant-admin", unknown)
        assert told.status_code == other.status_code
        assert ROUTES[route] != "own" or told.status_code in {404, 405}


def test_the_owner_downloads_logs_and_runs(two_tenants: Tenants) -> None:
    web, alpha, _ = two_tenants
    for path in _paths(alpha)["/logs/{path:path}"]:
        told = web.get("alpha/viewer", path)
        assert told.status_code == 200 and alpha.secret in told.text
        assert told.headers["content-disposition"].startswith("attachment")
    for path in _paths(alpha)["/download_debug/{run_id:str}"]:
        assert web.get("alpha/viewer", path).status_code == 200


@pytest.mark.parametrize("kind", ["materialization", "check", "observation"])
def test_reports_on_assets_of_another_tenant_are_refused(
    kind: str, two_tenants: Tenants, counts: Counts
) -> None:
    web, alpha, beta = two_tenants
    before = rows_about(web.database, alpha, beta)
    body = {"check_name": "alpha__check", "passed": True, "metadata": {"by": "beta"}}
    ways: list[tuple[str, dict[str, Any]]] = [
        ("/alpha/orders", body),
        ("/alpha/letters", {**body, "partition": "a"}),
        ("/", {**body, "asset_key": ["alpha", "orders"]}),
        ("/?asset_key=%5B%22alpha%22%2C%20%22orders%22%5D", body),
    ]
    for who in ("beta/tenant-admin", "delta/tenant-admin"):
        for path, given in ways:
            told = web.client.post(
                f"/report_asset_{kind}{path}", content=json.dumps(given), headers={**JSON, WHO: who}
            )
            assert told.status_code in {400, 401}, told.text
            foreign = changed(before, rows_about(web.database, alpha, beta))
            counts.reached("writes", len(foreign))
            assert not foreign


@pytest.mark.parametrize("kind", ["materialization", "check", "observation"])
def test_the_owner_reports(kind: str, two_tenants: Tenants) -> None:
    web, alpha, beta = two_tenants
    before = rows_about(web.database, alpha, beta)
    given = json.dumps({"check_name": "alpha__check", "passed": True})
    path = f"/report_asset_{kind}/alpha/orders"
    refused = web.client.post(path, content=given, headers={**JSON, WHO: "alpha/launcher"})
    assert refused.status_code == 401
    told = web.client.post(path, content=given, headers={**JSON, WHO: "alpha/editor"})
    assert told.status_code == 200, told.text
    assert changed(before, rows_about(web.database, alpha, beta))


@pytest.mark.parametrize("name", sorted(SUBSCRIPTIONS))
def test_a_subscription_tells_nothing_of_another_tenant(
    name: str, two_tenants: Tenants, counts: Counts
) -> None:
    web, alpha, _ = two_tenants
    counts.tried("subscriptions", name)
    told = _heard(web, "delta/tenant-admin", name, alpha.guessed())
    counts.reached("reads", told.count(alpha.secret) + told.count(alpha.location))
    assert alpha.secret not in told and alpha.location not in told


@pytest.mark.parametrize("name", sorted(SUBSCRIPTIONS))
def test_the_same_subscription_tells_its_owner(name: str, two_tenants: Tenants) -> None:
    web, alpha, _ = two_tenants
    expected = alpha.location if name == "locationStateChangeEvents" else alpha.secret
    assert expected in _heard(web, "alpha/viewer", name, alpha)


def _heard(web: Web, who: str, name: str, of: Plants) -> str:
    """Return all that a websocket says within some seconds of being asked in every way."""
    with web.websocket(who) as socket:
        socket.send_json({"type": "connection_init"})
        assert socket.receive_json()["type"] == "connection_ack"
        for number, way in enumerate(subscriptions(of)[name]):
            query = operation(_SCHEMA, "subscription", name, way, nested(of), BROKEN)
            socket.send_json({"type": "start", "id": str(number), "payload": {"query": query}})
        said = queue.Queue[str]()
        ears = threading.Thread(target=_listen, args=(socket, said), daemon=True)
        ears.start()
        threading.Event().wait(_SECONDS / 2)
        for location in LOCATIONS.values():
            process: Any = web.process
            process._send_state_event_to_subscribers(
                LocationStateChangeEvent(
                    LocationStateChangeEventType.LOCATION_DISCONNECTED,
                    location_name=location,
                    message=location,
                )
            )
        ears.join(_SECONDS)
        return "".join(said.queue)


def _listen(socket: Any, said: "queue.Queue[str]") -> None:
    try:
        while True:
            said.put(json.dumps(socket.receive_json()))
    except (WebSocketDisconnect, anyio.ClosedResourceError, anyio.EndOfStream):
        return
