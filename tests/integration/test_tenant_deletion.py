"""A tenant leaves: exported whole, then gone, however often the deletion is interrupted."""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from orchestrator_gateway.resolution import resolve
from orchestrator_gateway.tenant_keys import read_keys
from orchestrator_resources.state_databases import StateDatabase
from orchestrator_runtimes.errors import AgentError
from orchestrator_tenancy import tenant_deletion
from orchestrator_tenancy.audit.events import verify
from orchestrator_tenancy.identities import Role
from orchestrator_tenancy.keys.master_secrets import FORMER, MASTER
from orchestrator_tenancy.keys.tenant_key_store import FILE as KEYS
from orchestrator_tenancy.keys.tenant_key_store import TenantKeys
from orchestrator_tenancy.queue import run_rows as run_rows_module
from orchestrator_tenancy.queue.run_rows import run_rows
from orchestrator_tenancy.sign_in.people import Grant, Person
from orchestrator_tenancy.sign_in.settings import load, read_secrets
from orchestrator_tenancy.sign_in.stores import FILE, Stores, open_stores
from orchestrator_tenancy.tenant_deletion import Deletion
from orchestrator_tenancy.tenant_exports import exported_tenant, read_export
from orchestrator_tenancy.tenant_store import TenantStore, applied
from orchestrator_tenancy.tenants import Tenant
from tests.integration import queue_instances
from tests.integration.command_lines import refused, succeeds
from tests.integration.how_tos import HOW_TO
from tests.integration.sign_in_sites import Site
from tests.integration.state_places import opened

SECRET = "m" * 32
TENANTS: dict[str, Any] = {
    "organisations": {"acme": {"title": "Acme"}},
    "tenants": {
        "red": {
            "organisation": "acme",
            "plan": "free",
            "locations": {"red-one": {}},
            "members": {"ada@acme.example": {"role": "editor"}},
        },
        "blue": {"organisation": "acme", "plan": "free", "locations": {"blue": {}}},
    },
}


def person(name: str) -> Person:
    return Person(
        issuer="https://sso.example",
        subject=name,
        name=name.title(),
        email=None,
        grants=(Grant(tenant="red", role=Role.EDITOR), Grant(tenant="blue", role=Role.EDITOR)),
    )


@dataclass(frozen=True, kw_only=True)
class World:
    """A platform with two tenants, each with a token, a session and a key."""

    database: StateDatabase
    tenants: TenantStore
    stores: Stores
    keys: TenantKeys
    export: Path

    def deletion(self, going: Callable[[Tenant], int] | None = None) -> Deletion:
        return Deletion(
            tenants=self.tenants, stores=self.stores, keys=self.keys, actor="machine:olga", going=going
        )

    def fresh(self) -> TenantStore:
        """Return the directory as another process reads it."""
        return TenantStore(self.database)

    def left(self, name: str) -> tuple[int, int, int]:
        """Return how many tokens that hold, sessions and keys there are of a tenant."""
        tokens = [token for token in self.stores.tokens.list(name) if token.revoked is None]
        sessions = [session for session in self.stores.sessions.list() if session.tenant == name]
        return len(tokens), len(sessions), len(self.keys.list(name))


def stores_of(site: Site, database: StateDatabase) -> Stores:
    settings = load(site.file)
    return open_stores(database, settings, read_secrets(settings, site.file.parent))


@pytest.fixture
def world(stored: str, tmp_path: Path) -> Iterator[World]:
    site = Site(tmp_path, stored)
    site.configure("https://sso.example")
    with opened(stored) as database:
        found = World(
            database=database,
            tenants=TenantStore(database),
            stores=stores_of(site, database),
            keys=TenantKeys(database, [SECRET]),
            export=tmp_path / "red.tar.gz",
        )
        found.tenants.change(lambda written: applied(written, TENANTS))
        for name in ("red", "blue"):
            found.stores.tokens.create(name=f"CI of {name}", tenant=name, role=Role.VIEWER, days=1)
            found.stores.sessions.begin(person("ada"), name)
            found.keys.rotate(name)
            found.keys.rotate(name)
        yield found


def test_it_is_exported_whole_and_all_of_it_goes_and_nothing_of_others(world: World) -> None:
    assert world.deletion(going=lambda _: 0).delete("red", world.export) == {
        "tokens": 1,
        "sessions": 1,
        "keys": 2,
    }
    assert list(world.tenants.tenancy().tenants) == ["blue"]
    assert world.left("red") == (0, 0, 0) and world.left("blue") == (1, 1, 2)
    found = read_export(world.export)
    assert found["tenant"][0]["tenant"] == "red" and found["tenant"][0]["locations"] == {"red-one": {}}
    assert found["members"] == [{"member": "ada@acme.example", "role": "editor"}]
    assert [row["name"] for row in found["tokens"]] == ["CI of red"]
    assert [row["action"] for row in found["audit"]] == ["tenant.delete"]
    assert world.export.stat().st_mode & 0o777 == 0o600
    records = list(world.stores.audit.records())
    assert [(r.event.action, r.event.reason) for r in records] == [
        ("tenant.delete", ""),
        ("keys.shred", "versions: 2"),
    ]
    assert verify(records, world.stores.audit.keys).number == 2


@pytest.mark.parametrize(
    ("place", "name"),
    [
        (tenant_deletion, "write_export"),
        (TenantStore, "change"),
        (Deletion, "_revoke_tokens"),
        (Deletion, "_end_sessions"),
        (TenantKeys, "shred"),
    ],
)
@pytest.mark.parametrize("done", [False, True])
def test_interrupted_anywhere_it_is_whole_or_finished_by_the_same_command(
    world: World, monkeypatch: pytest.MonkeyPatch, place: Any, name: str, *, done: bool
) -> None:
    class Killed(BaseException):
        pass

    real = getattr(place, name)

    def kill(*arguments: Any, **more: Any) -> Any:
        if done:
            real(*arguments, **more)
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(place, name, kill)
        with pytest.raises(Killed):
            world.deletion().delete("red", world.export)
    gone = "red" not in world.fresh().tenancy().tenants
    assert exported_tenant(world.export) == "red" or (not gone and world.left("red") == (1, 1, 2))
    assert not [file for file in world.export.parent.iterdir() if file.name.startswith(".red")]
    world.deletion().delete("red", world.export)
    assert read_export(world.export)["members"] == [{"member": "ada@acme.example", "role": "editor"}]
    assert world.left("red") == (0, 0, 0) and world.left("blue") == (1, 1, 2)


def test_runs_that_go_on_are_told_and_nothing_goes(world: World) -> None:
    with pytest.raises(
        AgentError, match="runs of 'red' that have not ended: 3; suspend it and wait, or use --force"
    ):
        world.deletion(going=lambda tenant: 3 * len(tenant.locations)).delete("red", world.export)
    assert not world.export.exists() and world.left("red") == (1, 1, 2)
    (record,) = world.stores.audit.records()
    assert (record.event.allowed, record.event.reason) == (False, "runs that have not ended: 3")


def test_what_is_there_and_is_no_export_of_it_is_left(world: World) -> None:
    world.export.write_text("something else")
    with pytest.raises(AgentError, match=r"red\.tar\.gz is there, and is no export of 'red'"):
        world.deletion().delete("red", world.export)
    assert world.export.read_text() == "something else" and world.left("red") == (1, 1, 2)
    with pytest.raises(
        AgentError, match=r"there is no tenant 'green'; there are blue, red; and .* is no export"
    ):
        world.deletion().delete("green", world.export)
    with pytest.raises(AgentError, match="cannot be written: No such file"):
        world.deletion().delete("red", world.export.parent / "missing" / "red.tar.gz")
    assert world.left("red") == (1, 1, 2)


def test_all_runs_of_its_locations_are_told_and_none_of_others(
    stored: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_rows_module, "_AT_ONCE", 2)
    queue_instances.prepare(tmp_path / "home", stored, tenants=TENANTS)
    with queue_instances.opened(tmp_path / "home") as instance:
        own = [queue_instances.submit(instance, "red-one").run_id for _ in range(5)]
        lie = {"dagster/code_location": "red-one"}
        queue_instances.submit(instance, "blue", tags=lie)
        assert [row["run"] for row in run_rows(instance, {"red-one"})] == own[::-1]
        assert list(run_rows(instance, set())) == []


def test_an_operator_rotates_hands_out_and_deletes(tmp_path: Path) -> None:
    queue_instances.prepare(tmp_path, str(tmp_path), tenants=TENANTS)
    site = Site(tmp_path, str(tmp_path / "control" / FILE))
    site.configure("https://sso.example")
    settings = {"ORCHESTRATOR_SIGN_IN": str(site.file), "DAGSTER_HOME": str(tmp_path), MASTER: SECRET}

    def keys(*words: str, **more: str) -> str:
        return succeeds("orchestrator", "tenants", "keys", *words, folder=tmp_path, **{**settings, **more})

    assert keys("list") == "there are no keys\n"
    assert "the keys of tenants, in all 2" in keys("export", "gateway.json")
    assert keys("rotate", "red").startswith("version 2 of the key of red: export the keys again")
    assert "the keys of tenants, in all 1" in keys("export", "red.json", "--tenant", "red")
    told = (
        json.loads((tmp_path / "gateway.json").read_text()),
        json.loads((tmp_path / "red.json").read_text()),
    )
    assert {tenant: list(each) for tenant, each in told[0].items()} == {"blue": ["1"], "red": ["1"]}
    assert list(told[1]["red"]) == ["1", "2"] and told[1]["red"]["1"] == told[0]["red"]["1"]
    assert (tmp_path / "red.json").stat().st_mode & 0o777 == 0o600
    changed = {MASTER: "n" * 32, FORMER: SECRET}
    assert keys("rewrap", **changed).startswith("wrapped anew: 3")
    assert "no tenant 'green'" in refused(
        "orchestrator", "tenants", "keys", "rotate", "green", folder=tmp_path, **settings
    )
    rows = json.loads(keys("list", "--json", **{MASTER: ""}))
    assert [(row["tenant"], row["version"]) for row in rows] == [("blue", 1), ("red", 1), ("red", 2)]
    with queue_instances.opened(tmp_path) as instance:
        run = queue_instances.submit(instance, "red-one")
        queue_instances.submit(instance, "blue")
    delete = ("orchestrator", "tenants", "delete", "red", "--export", "left.tar.gz")
    assert "runs of 'red' that have not ended: 1;" in refused(*delete, folder=tmp_path, **settings)
    with queue_instances.opened(tmp_path) as instance:
        stored = instance.get_run_by_id(run.run_id)
        assert stored is not None
        instance.report_run_canceled(stored)
    assert "gone: 0 tokens, 0 sessions, 2 keys" in succeeds(*delete, folder=tmp_path, **settings)
    (row,) = read_export(tmp_path / "left.tar.gz")["runs"]
    assert (row["run"], row["location"], row["status"]) == (run.run_id, "red-one", "CANCELED")
    assert row["created"] <= row["ended"] and row["started"] is None and row["tags"]
    assert "gone: 0 tokens, 0 sessions, 0 keys" in succeeds(*delete, folder=tmp_path, **settings)
    assert json.loads(keys("list", "--json", **{MASTER: ""}))[0]["tenant"] == "blue"
    with opened(site.place) as database:
        actions = [record.event.action for record in stores_of(site, database).audit.records()]
    assert actions == [
        "keys.export",
        "keys.rotate",
        "keys.export",
        "keys.rewrap",
        *("tenant.delete", "tenant.delete", "keys.shred", "keys.shred"),
    ]
    assert (tmp_path / "control" / KEYS).exists()


def test_the_how_to_works_as_it_stands(tmp_path: Path) -> None:
    page = (HOW_TO / "keep-data-encrypted.md").read_text()
    queue_instances.prepare(tmp_path, str(tmp_path), tenants=TENANTS)
    Site(tmp_path, "").configure("https://sso.example")
    script = "\n".join(re.findall(r"```sh\n(.*?)```", page, re.DOTALL))
    told = succeeds("/bin/bash", "-euo", "pipefail", "-c", script, folder=tmp_path)
    assert "version 2 of the key of red" in told and "wrapped anew: 3" in told
    assert "red is deleted, its data is in red.tar.gz" in told
    assert list(read_keys(tmp_path / "gateway-keys.json")) == ["blue"]
    assert exported_tenant(tmp_path / "red.tar.gz") == "red"
    (shown,) = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    (tmp_path / "gateway.secret").write_text("s" * 32)
    rest = "secret: {file: gateway.secret}\nupstreams: {own: {base_url: 'http://own/v1'}}\ndefault: {upstream: own}\n"
    (tmp_path / "gateway.yaml").write_text(shown + rest)
    assert resolve(tmp_path / "gateway.yaml").tenant_keys == tmp_path / "gateway-keys.json"
