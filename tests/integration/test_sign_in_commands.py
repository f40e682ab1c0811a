"""The commands about sign-ins, tokens, sessions and the audit log, as an operator calls them."""

import json
from pathlib import Path

import httpx
import pytest

from orchestrator_tenancy.control_databases import CONTROL_URL
from orchestrator_tenancy.identities import Role
from orchestrator_tenancy.sign_in.people import Grant, Person
from orchestrator_tenancy.sign_in.settings import load, read_secrets
from orchestrator_tenancy.sign_in.stores import FILE, open_stores
from tests.integration.command_lines import refused, run, succeeds
from tests.integration.hostile_providers import hostile_provider
from tests.integration.postgres_servers import PostgresServer
from tests.integration.processes import wait_until
from tests.integration.sign_in_sites import Site
from tests.integration.state_places import opened

PERSON = Person(
    issuer="https://sso.example",
    subject="olga",
    name="Olga",
    email=None,
    grants=(Grant(tenant=None, role=Role.OPERATOR),),
)


@pytest.fixture
def site(
    request: pytest.FixtureRequest, postgres: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Site:
    if getattr(request, "param", "sqlite") == "postgres":
        place = postgres.database()
        monkeypatch.setenv(CONTROL_URL, place)
    else:
        place = str(tmp_path / "control" / FILE)
        monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    site = Site(tmp_path, place)
    site.configure("https://sso.example")
    return site


@pytest.mark.parametrize("site", ["sqlite", "postgres"], indirect=True)
def test_a_token_is_created_listed_used_and_revoked(site: Site, tmp_path: Path) -> None:
    def orchestrator(*words: str) -> str:
        return succeeds("orchestrator", *words, folder=tmp_path, ORCHESTRATOR_SIGN_IN=str(site.file))

    assert orchestrator("tokens", "list") == "there are no tokens\n"
    text = orchestrator(
        "tokens", "create", "CI of red", "--tenant", "red", "--role", "launcher", "--days", "7"
    ).strip()
    (row,) = json.loads(orchestrator("tokens", "list", "--tenant", "red", "--json"))
    assert (row["name"], row["tenant"], row["role"], row["revoked"]) == ("CI of red", "red", "launcher", None)
    assert text.startswith(f"orchestrator_{row['token']}_") and text not in orchestrator("tokens", "list")
    headers = {"Authorization": f"Bearer {text}"}
    with site.served():
        assert httpx.get(site.url, headers=headers).json()["identity"]["tenant"] == "red"
        assert "is revoked" in orchestrator("tokens", "revoke", row["token"])
        wait_until(lambda: httpx.get(site.url, headers=headers).status_code == 401, "it is none any more")
    exported = [json.loads(line) for line in orchestrator("audit", "export").splitlines()]
    assert [record["action"] for record in exported] == ["token.create", "token.revoke", "token"]
    assert exported[0]["actor"].startswith("machine:") and exported[0]["target"] == row["token"]


def test_sessions_are_listed_and_revoked(site: Site, tmp_path: Path) -> None:
    settings = load(site.file)
    with opened(site.place) as database:
        stores = open_stores(database, settings, read_secrets(settings, tmp_path))
        session, _ = stores.sessions.begin(PERSON, "red")
        stores.sessions.begin(PERSON, None)
    words = ("--config", str(site.file))
    assert "user:https://sso.example#olga" in succeeds(
        "orchestrator", "sessions", "list", *words, folder=tmp_path
    )
    assert "1 ended" in succeeds("orchestrator", "sessions", "revoke", session.id, *words, folder=tmp_path)
    assert "1 ended" in succeeds(
        "orchestrator", "sessions", "revoke", PERSON.identifier, *words, folder=tmp_path
    )
    assert "there is no session" in refused(
        "orchestrator", "sessions", "revoke", session.id, *words, folder=tmp_path
    )
    assert "nobody is signed in" in succeeds("orchestrator", "sessions", "list", *words, folder=tmp_path)


def test_an_exported_log_is_verified_with_and_without_the_secret(site: Site, tmp_path: Path) -> None:
    def orchestrator(*words: str) -> str:
        return succeeds("orchestrator", *words, folder=tmp_path)

    config = ("--config", str(site.file))
    for name in ("a", "b", "c"):
        orchestrator("tokens", "create", name, "--tenant", "red", "--role", "viewer", *config)
    head = orchestrator("audit", "verify", *config).split()[-1]
    assert head.startswith("3:")
    orchestrator("audit", "export", "--output", "log.jsonl", *config)
    assert orchestrator("audit", "verify", "--exported", "log.jsonl").split()[-1] == head
    assert (
        orchestrator("audit", "verify", "--exported", "log.jsonl", "--head", head, *config).split()[-1]
        == head
    )
    lines = (tmp_path / "log.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "changed.jsonl").write_text(lines[0].replace("red", "blue") + "".join(lines[1:]))
    told = refused("orchestrator", "audit", "verify", "--exported", "changed.jsonl", folder=tmp_path)
    assert "record 1 was changed" in told
    (tmp_path / "short.jsonl").write_text("".join(lines[:2]))
    told = refused(
        "orchestrator", "audit", "verify", "--exported", "short.jsonl", "--head", head, folder=tmp_path
    )
    assert "its end was cut off" in told
    assert run("orchestrator", "audit", "verify", folder=tmp_path).returncode == 2
    assert run("orchestrator", "audit", "verify", *config, "--head", "x", folder=tmp_path).returncode == 2


def test_who_changed_which_tenant_is_kept_before_it_is_changed(site: Site, tmp_path: Path) -> None:
    file = tmp_path / "tenants.yaml"
    file.write_text(
        "organisations: {acme: {title: Acme}}\ntenants: {red: {organisation: acme, plan: free}}\n"
    )

    def tenants(*words: str, **more: str) -> str:
        settings = {"ORCHESTRATOR_SIGN_IN": str(site.file), "DAGSTER_HOME": str(tmp_path), **more}
        return succeeds("orchestrator", "tenants", *words, folder=tmp_path, **settings)

    for words in (
        ("apply", "tenants.yaml", "--dry-run"),
        ("apply", "tenants.yaml"),
        ("apply", "tenants.yaml"),
        ("suspend", "red"),
        ("suspend", "red"),
        ("resume", "red"),
        ("plan", "red", "team"),
    ):
        tenants(*words)
    tenants("plan", "red", "free", ORCHESTRATOR_SIGN_IN="")
    records = [
        json.loads(line)
        for line in succeeds(
            "orchestrator", "audit", "export", folder=tmp_path, ORCHESTRATOR_SIGN_IN=str(site.file)
        ).splitlines()
    ]
    assert [(r["action"], r["tenant"], r["target"], r["reason"]) for r in records] == [
        ("tenants.apply", None, "organisation acme", "created"),
        ("tenants.apply", "red", "tenant red", "created"),
        ("tenant.suspend", "red", "tenant red", "changed"),
        ("tenant.resume", "red", "tenant red", "changed"),
        ("tenant.plan team", "red", "tenant red", "changed"),
    ]
    assert all(record["actor"].startswith("machine:") for record in records)


def test_a_check_says_whether_people_could_sign_in(tmp_path: Path) -> None:
    site = Site(tmp_path, "")
    words = ("orchestrator", "sign-in", "check", "--config", str(site.file))
    with hostile_provider() as provider:
        site.configure(provider.issuer)
        assert f"it must know {site.redirect_uri}" in succeeds(*words, folder=tmp_path)
        site.configure(f"{provider.issuer}/")
        assert "write it as the provider does" in refused(*words, folder=tmp_path)
    assert "cannot be asked" in refused(*words, folder=tmp_path)
    site.configure("http://sso.example")
    assert "must begin with https://" in refused(*words, folder=tmp_path)
