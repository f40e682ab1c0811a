"""The tenants' web server behind the sign-in: a person signs in at a real provider and sees their own tenant alone."""

# pyright: reportUnknownMemberType=false

import contextlib
import json
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import httpx
import pytest
from click.testing import CliRunner
from dagster import DagsterInstance
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect
from websockets.typing import Subprotocol

from orchestrator_defs.cli import main
from orchestrator_gateway.tenant_keys import KeyFile
from orchestrator_resources.sealed_texts import SealedTexts
from orchestrator_tenancy.sign_in.wrapper import SignIn
from orchestrator_tenancy.web.serving import tenant_app
from tests.integration.hostile_code_servers import CodeServer, serving
from tests.integration.key_files import key_file, tenant_key, write_keys
from tests.integration.openid_providers import openid_provider
from tests.integration.queue_instances import job_of
from tests.integration.sign_in_sites import Browser, Site, browser, decisions

TENANTS = ("blue", "green")
NAMES = (
    "{ workspaceOrError { ... on Workspace { locationEntries { name } } } assetNodes { assetKey { path } } }"
)
LINES = "... on PipelineRunLogsSubscriptionSuccess { messages { ... on MessageEvent { message } } }"
FILES = {"workspace": "workspace.yaml", "sign-in": "sign-in.yaml", "keys": "keys.json"}
USUAL: dict[str, Any] = {"organisation": "acme", "plan": "free"}
TERMINATE = 'mutation { ...all } fragment all on Mutation { terminateRun(runId: "x") { __typename } }'


def definitions(tenant: str) -> dg.Definitions:
    # the location of green lies about whose an asset is
    @dg.asset(key=["blue", "secrets"] if tenant == "green" else ["blue", "orders"])
    def orders() -> None: ...

    return dg.Definitions(assets=[orders])


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[DagsterInstance]:
    with DagsterInstance.local_temp(str(tmp_path)) as instance:
        yield instance


@pytest.fixture
def site(tmp_path: Path, instance: DagsterInstance) -> Iterator[Site]:
    site = Site(tmp_path, str(tmp_path / "sign_in.db"))
    members = {"bob@acme.example": {"role": "viewer"}}
    site.directory.change(
        blue={**USUAL, "members": members, "locations": {"blue-agents": {}}},
        green={**USUAL, "locations": {"green-agents": {}}},
    )
    with contextlib.ExitStack() as open_:
        workspace: list[Any] = []
        for tenant in TENANTS:
            server = open_.enter_context(serving(CodeServer(definitions(tenant), {})))
            where = {"host": "127.0.0.1", "port": server.port, "location_name": f"{tenant}-agents"}
            workspace.append({"grpc_server": where})
        key_file(tmp_path / "keys.json", *TENANTS)
        (tmp_path / "workspace.yaml").write_text(json.dumps({"load_from": workspace}))
        provider = open_.enter_context(openid_provider(site.redirect_uri, f"{site.url}/sign-in"))
        keys = KeyFile(tmp_path / "keys.json")
        app = tenant_app(instance, site.directory, [tmp_path / "workspace.yaml"], keys=keys)
        site.app = open_.enter_context(app)
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


def revoke(site: Site, wrapped: SignIn) -> None:
    for session in wrapped.parts.stores.sessions.list():
        wrapped.parts.stores.sessions.revoke(session.id)


def remove_member(site: Site, wrapped: SignIn) -> None:
    site.directory.change(blue={**USUAL, "locations": {"blue-agents": {}}})


def lower_role(site: Site, wrapped: SignIn) -> None:
    members = {"bob@acme.example": {"role": "launcher"}}
    site.directory.change(blue={**USUAL, "members": members, "locations": {"blue-agents": {}}})


def remove_tenant(site: Site, wrapped: SignIn) -> None:
    site.directory.change(blue=None)


def take_location(site: Site, wrapped: SignIn) -> None:
    members = {"bob@acme.example": {"role": "viewer"}}
    site.directory.change(blue={**USUAL, "members": members})


@pytest.mark.filterwarnings("ignore:Error loading repository location green-agents")
@pytest.mark.parametrize("change", [revoke, remove_member, lower_role, remove_tenant, take_location])
def test_a_subscription_that_runs_tells_nothing_after_its_rights_are_gone(
    site: Site, instance: DagsterInstance, change: Callable[[Site, SignIn], None]
) -> None:
    run = instance.create_run_for_job(job_of("blue-agents"), tags={"dagster/code_location": "blue-agents"})
    with site.served() as wrapped, browser(site) as visitor:
        visitor.sign_in("bob")
        headers = {"Cookie": f"orchestrator-session={visitor.session()}", "Origin": site.url}
        with connect(
            f"ws{site.url[4:]}/graphql", additional_headers=headers, subprotocols=[Subprotocol("graphql-ws")]
        ) as socket:
            query = f'subscription {{ pipelineRunLogs(runId: "{run.run_id}") {{ {LINES} }} }}'
            socket.send(json.dumps({"type": "start", "id": "1", "payload": {"query": query}}))
            instance.report_engine_event("planted before", run)
            heard = ""
            while "planted before" not in heard:
                heard += str(socket.recv(timeout=20))
            change(site, wrapped)
            time.sleep(1.0)  # longer than who asks is kept in mind, here and in the sign-in
            instance.report_engine_event("planted after", run)
            with contextlib.suppress(ConnectionClosed, TimeoutError):
                while True:
                    heard += str(socket.recv(timeout=3))
    assert "planted after" not in heard
    if change is take_location:
        assert "what your tenant may see has changed: reload the page" in heard
    else:
        assert socket.close_code == 4401


@pytest.mark.filterwarnings("ignore:Error loading repository location green-agents")
def test_pages_say_who_one_is_and_lead_to_the_way_out(site: Site) -> None:
    with site.served(), browser(site) as visitor:
        page = visitor.sign_in("bob", "/runs")
        (link,) = re.findall(r'<a href="(/sign-in/tenant)"[^>]*>([^<]*)</a></body>', page.text)
        assert link[1].endswith(" · blue")
        assert int(page.headers["content-length"]) == len(page.content)
        assert "nonce-" in page.headers["content-security-policy"]
        assert "Sign out" in visitor.get(link[0]).text


@pytest.mark.filterwarnings("ignore:Error loading repository location green-agents")
def test_what_a_run_sealed_for_people_is_read_by_those_of_its_tenant(
    site: Site, instance: DagsterInstance, tmp_path: Path
) -> None:
    blue, green = tenant_key("blue"), tenant_key("green")
    write_keys(tmp_path / "keys.json", blue, green)
    sealed = {
        one.tenant: SealedTexts(write_keys(tmp_path / f"{one.tenant}.json", one)).seal_for_people(
            f"may {one.tenant} be paid?"
        )
        for one in (blue, green)
    }
    instance.report_runless_asset_event(dg.AssetMaterialization(["blue", "orders"], metadata=sealed))
    query = """{ assetOrError(assetKey: {path: ["blue", "orders"]}) { ... on Asset { assetMaterializations {
      metadataEntries { label ... on TextMetadataEntry { text } } } } } }"""
    with site.served(), browser(site) as visitor:
        visitor.sign_in("bob")
        (made,) = asked(visitor, site, query).json()["data"]["assetOrError"]["assetMaterializations"]
    told = {entry["label"]: entry["text"] for entry in made["metadataEntries"]}
    assert told == {"blue": "may blue be paid?", "green": sealed["green"]}


def test_a_file_of_keys_that_cannot_be_used_is_told_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    for file in FILES.values():
        (tmp_path / file).write_text("[]")
    files = [f"--{name}={tmp_path / file}" for name, file in FILES.items()]
    told = CliRunner().invoke(main, ["web", *files])
    assert told.exit_code == 1
    assert told.output == (
        f"Error: {str(tmp_path / 'keys.json')!r}: it must be an object of tenants, each an object of versions\n"
    )
