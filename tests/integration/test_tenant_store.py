"""Tenants in a database: on SQLite and PostgreSQL, with several that change them at once."""

import re
import threading
from pathlib import Path
from typing import Any

import pytest
import yaml

from orchestrator_tenancy.tenant_store import PLANS, TenantStore, applied
from orchestrator_tenancy.tenants import BadTenancy
from tests.integration.command_lines import refused, succeeds
from tests.integration.how_tos import HOW_TO
from tests.integration.state_places import opened

FILE = """\
organisations: {acme: {title: Acme}}
tenants:
  red: {organisation: acme, plan: free, locations: {red-agents: {}}}
  blue: {organisation: acme, plan: team, quotas: {gpus: 8}, members: {ada@acme.example: {role: editor}}}
"""


def add(name: str, **fields: Any) -> Any:
    def edit(stored: dict[str, Any]) -> None:
        applied(stored, {"organisations": {"acme": {"title": "Acme"}}})
        stored["tenants"][name] = {"organisation": "acme", "plan": "free", **fields}

    return edit


def test_what_is_stored_is_there_for_others_within_a_second(stored: str) -> None:
    now = [0.0]
    with opened(stored) as one, opened(stored) as other:
        writer, reader = TenantStore(one), TenantStore(other, clock=lambda: now[0])
        assert dict(reader.tenancy().plans) == dict(PLANS) and not reader.tenancy().tenants
        assert [(c.kind, c.name, c.what) for c in writer.change(add("red"))] == [
            ("organisations", "acme", "created"),
            ("tenants", "red", "created"),
        ]
        assert list(writer.tenancy().tenants) == ["red"], "whoever changed it knows at once"
        now[0] = 1.0
        assert list(reader.tenancy().tenants) == ["red"]
        assert writer.change(add("red")) == []


def test_a_change_that_leaves_it_incomplete_changes_nothing(stored: str) -> None:
    with opened(stored) as database:
        store = TenantStore(database)
        store.change(add("red"))
        with pytest.raises(BadTenancy, match=r"tenants\.blue\.plan: there is no 'gold'"):
            store.change(add("blue", plan="gold"))
        assert list(TenantStore(database).tenancy().tenants) == ["red"]


def test_changes_at_once_lose_none(stored: str) -> None:
    names = [f"team-{letter}" for letter in "abcdefgh"]

    def change(name: str) -> None:
        with opened(stored) as database:
            TenantStore(database).change(add(name))

    with opened(stored) as database:
        store = TenantStore(database)
        threads = [threading.Thread(target=change, args=[name]) for name in names]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(TenantStore(database).tenancy().tenants) == names
        assert store.would_change(add("team-i"))[0].name == "team-i"


def test_plans_that_nobody_changed_are_those_of_the_version(stored: str) -> None:
    with opened(stored) as database:
        store = TenantStore(database)
        store.change(lambda stored: applied(stored, {"plans": {"free": {"quotas": {"runs": 3}}}}))
        with database.transaction("tenants") as reading:
            ((written,),) = reading.execute("SELECT written FROM tenancy").fetchall()
        assert '"free"' in written and '"team"' not in written
        assert TenantStore(database).tenancy().plans["free"].quotas.runs == 3


def test_tenants_are_managed_from_the_command_line(tmp_path: Path) -> None:
    (tmp_path / "tenants.yaml").write_text(FILE)

    def tenants(*words: str) -> str:
        return succeeds("orchestrator", "tenants", *words, folder=tmp_path, DAGSTER_HOME=str(tmp_path))

    assert tenants("list") == "there are no tenants: orchestrator tenants apply FILE\n"
    told = tenants("apply", "tenants.yaml", "--dry-run")
    assert "tenant red: would be created" in told and "no tenants" in tenants("list")
    assert "tenant red: created" in tenants("apply", "tenants.yaml")
    assert tenants("apply", "tenants.yaml") == "nothing is different\n"
    assert "red" in tenants("list") and '"state": "active"' in tenants("list", "--json")
    assert tenants("suspend", "red") == "tenant red: changed\n"
    assert "suspended: true" in tenants("show", "red")
    assert tenants("suspend", "red") == "nothing is different\n"
    tenants("resume", "red")
    tenants("plan", "red", "team")
    assert "plan: team" in tenants("show", "red") and "gpus: 4" in tenants("show", "red")


def test_the_how_to_works_as_it_stands(tmp_path: Path) -> None:
    page = HOW_TO / "manage-tenants.md"
    for path, text in re.findall(r"<!-- given: (\S+) -->\n```yaml\n(.*?)```", page.read_text(), re.DOTALL):
        (tmp_path / path).write_text(text)
    lines = re.findall(r"^orchestrator (tenants .*)$", page.read_text(), re.MULTILINE)
    assert len(lines) == 5
    told = [
        succeeds("orchestrator", *line.split(), folder=tmp_path, DAGSTER_HOME=str(tmp_path)) for line in lines
    ]
    assert "tenant blue: would be created" in told[0] and "tenant blue: created" in told[1]
    values = yaml.safe_load(told[-1])
    assert values["locations"]["blue-agents"]["repositories"] == ["registry.example/blue/agents"]
    budgets = values["gateway"]["configuration"]["budgets"]
    assert {"scope": "tenant", "name": "red", "per": "month", "tokens": 5_000_000} in budgets


@pytest.mark.parametrize(
    ("words", "file", "why"),
    [
        (
            ["apply", "tenants.yaml"],
            "tenants: {red: {plan: free}}",
            "tenants.red.organisation: Field required",
        ),
        (
            ["apply", "tenants.yaml"],
            "teams: {}",
            "tenants.yaml: teams: there are organisations, plans, tenants",
        ),
        (["apply", "tenants.yaml"], "tenants: [red]", "tenants.yaml: tenants: it must be a mapping of names"),
        (["apply", "tenants.yaml"], "[", "tenants.yaml cannot be read: while parsing"),
        (["show", "green"], "", "there is no tenant 'green'; there are none"),
        (["suspend", "green"], "", "there is no tenant 'green'; there are none"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_line(words: list[str], file: str, why: str, tmp_path: Path) -> None:
    (tmp_path / "tenants.yaml").write_text(file)
    told = refused("orchestrator", "tenants", *words, folder=tmp_path, DAGSTER_HOME=str(tmp_path))
    assert why in told


def test_where_tenants_are_must_be_said(tmp_path: Path) -> None:
    told = refused("orchestrator", "tenants", "list", folder=tmp_path, DAGSTER_HOME="")
    assert "set DAGSTER_HOME" in told and "ORCHESTRATOR_CONTROL_URL" in told
    told = refused("orchestrator", "tenants", "list", folder=tmp_path, ORCHESTRATOR_CONTROL_URL="mysql://x")
    assert "ORCHESTRATOR_CONTROL_URL must be the URL of a PostgreSQL database" in told
