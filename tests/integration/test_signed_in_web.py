"""The tenants' web server behind the sign-in: a person signs in at a real provider and sees their own tenant alone."""

# pyright: reportUnknownMemberType=false

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import httpx
import pytest
from dagster import DagsterInstance

from orchestrator_tenancy.web.serving import tenant_app
from tests.integration.hostile_code_servers import CodeServer, serving
from tests.integration.openid_providers import openid_provider
from tests.integration.sign_in_sites import Browser, Site, browser, decisions

TENANTS = ("blue", "green")
NAMES = (
    "{ workspaceOrError { ... on Workspace { locationEntries { name } } } assetNodes { assetKey { path } } }"
)
TERMINATE = 'mutation { ...all } fragment all on Mutation { terminateRun(runId: "x") { __typename } }'


def definitions(tenant: str) -> dg.Definitions:
    # the location of green lies about whose an asset is
    @dg.asset(key=["blue", "secrets"] if tenant == "green" else ["blue", "orders"])
    def orders() -> None: ...

    return dg.Definitions(assets=[orders])


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    site = Site(tmp_path, str(tmp_path / "sign_in.db"))
    members = {"bob@acme.example": {"role": "viewer"}}
    usual = {"organisation": "acme", "plan": "free"}
    site.directory.change(
        blue={**usual, "members": members, "locations": {"blue-agents": {}}},
        green={**usual, "locations": {"green-agents": {}}},
    )
    with contextlib.ExitStack() as open_:
        workspace: list[Any] = []
        for tenant in TENANTS:
            server = open_.enter_context(serving(CodeServer(definitions(tenant), {})))
            where = {"host": "127.0.0.1", "port": server.port, "location_name": f"{tenant}-agents"}
            workspace.append({"grpc_server": where})
        (tmp_path / "workspace.yaml").write_text(json.dumps({"load_from": workspace}))
        provider = open_.enter_context(openid_provider(site.redirect_uri, f"{site.url}/sign-in"))
        instance = open_.enter_context(DagsterInstance.local_temp(str(tmp_path)))
        site.app = open_.enter_context(tenant_app(instance, site.directory, [tmp_path / "workspace.yaml"]))
        site.configure(provider.issuer)
        yield site


def asked(visitor: Browser, site: Site, query: str) -> httpx.Response:
    headers = {"Origin": site.url, "Sec-Fetch-Site": "same-origin"}
    return visitor.client.post(f"{site.url}/graphql", json={"query": query}, headers=headers)


@pytest.mark.filterwarnings("ignore:Error loading repository location green-agents")
def test_who_signed_in_sees_their_tenant_and_what_they_ask_to_change_is_written_down(site: Site) -> None:
    with site.served() as wrapped, browser(site) as visitor, browser(site) as nobody:
        page = visitor.sign_in("bob", "/runs")
        assert page.status_code == 200 and "Dagster" in page.text and page.url.path == "/runs"
        told = asked(visitor, site, NAMES).json()["data"]
        assert told["workspaceOrError"]["locationEntries"] == [{"name": "blue-agents"}]
        assert [one["assetKey"]["path"] for one in told["assetNodes"]] == [["blue", "orders"]]
        assert "errors" in asked(visitor, site, TERMINATE).json(), "a viewer ends no runs"
        assert asked(nobody, site, NAMES).status_code == 401
        assert ("bob", "graphql.terminateRun", "blue", False) in decisions(wrapped)
