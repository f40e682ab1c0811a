"""Tenants as an operator writes them: what is taken, and what a refusal says."""

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator_tenancy.identities import Identity, Role
from orchestrator_tenancy.tenants import TENANT_NAME, BadTenancy, Tenancy, read_tenancy

WRITTEN: dict[str, Any] = {
    "organisations": {"acme": {"title": "Acme"}},
    "plans": {
        "free": {"quotas": {"runs": 2, "gpus": 0}},
        "team": {"weight": 4, "custom_locations": True, "quotas": {"runs": 20, "gpus": 4}},
    },
    "tenants": {
        "red": {"organisation": "acme", "plan": "free", "locations": {"red-agents": {}}},
        "blue": {
            "organisation": "acme",
            "plan": "team",
            "quotas": {"gpus": 8},
            "locations": {"blue-agents": {"kind": "custom", "image": "blue:1", "module": "blue"}},
            "members": {"ada@acme.example": {"role": "editor"}},
        },
    },
}


def changed(tenant: str, **fields: Any) -> dict[str, Any]:
    return WRITTEN | {"tenants": WRITTEN["tenants"] | {tenant: WRITTEN["tenants"].get(tenant, {}) | fields}}


def test_a_tenant_has_its_plans_quotas_and_its_own_in_their_place() -> None:
    tenancy = read_tenancy(WRITTEN)
    assert tenancy.quotas("blue").gpus == 8 and tenancy.quotas("blue").runs == 20
    assert tenancy.quotas("red").runs == 2 and tenancy.quotas("red").tokens is None


def test_a_location_has_one_owner() -> None:
    tenancy = read_tenancy(WRITTEN)
    assert tenancy.owner("blue-agents") == "blue" and tenancy.owner("green-agents") is None


@pytest.mark.parametrize(
    ("written", "why"),
    [
        (changed("red", plan="gold"), "tenants.red.plan: there is no 'gold'; there are free, team"),
        (changed("red", organisation="nobody"), "tenants.red.organisation: there is no 'nobody'"),
        (changed("red", locations={"blue-agents": {}}), "locations.blue-agents: 'red' has one of this name"),
        (
            changed("red", locations={"red-agents": {"kind": "custom", "image": "red:1", "module": "red"}}),
            "'free' has no custom locations",
        ),
        (changed("blue", locations={"more": {"kind": "custom"}}), "needs `image` and `module`"),
        (changed("blue", locations={"more": {"module": "blue"}}), "has the platform's own module"),
        (changed("blue", members={"eve": {"role": "operator"}}), "a tenant has no operators"),
        (changed("blue", quotas={"gpus": -1}), "tenants.blue.quotas.gpus: Input should be greater than"),
        (
            changed("blue--sky", organisation="acme", plan="free"),
            "tenants.blue--sky.[key]: String should match",
        ),
        (changed("b" * 31, organisation="acme", plan="free"), "at most 30 characters"),
        (changed("Blue", organisation="acme", plan="free"), "tenants.Blue.[key]: String should match"),
        (changed("blue", colour="blue"), "tenants.blue.colour: Extra inputs are not permitted"),
    ],
)
def test_what_cannot_be_taken_is_named(written: dict[str, Any], why: str) -> None:
    with pytest.raises(BadTenancy, match=re.escape(why)):
        read_tenancy(written)


@given(st.from_regex(TENANT_NAME.replace("$", r"\Z")).filter(lambda name: len(name) <= 30))
def test_a_tenants_name_is_a_dns_label_that_leaves_room(name: str) -> None:
    assert re.fullmatch(r"[a-z]([-a-z0-9]*[a-z0-9])", name) and "--" not in name
    assert Tenancy.model_validate(
        WRITTEN | {"tenants": {name: {"organisation": "acme", "plan": "free"}}}
    ).tenants[name]


def test_each_role_may_do_what_those_before_it_may() -> None:
    assert Role.EDITOR.includes(Role.LAUNCHER) and not Role.EDITOR.includes(Role.TENANT_ADMIN)
    assert all(Role.OPERATOR.includes(role) and role.includes(Role.VIEWER) for role in Role)


def test_only_an_operator_is_of_no_tenant() -> None:
    with pytest.raises(ValueError, match="'user:a#1' has the role 'editor' and no tenant"):
        Identity(subject="user:a#1", name="Ada", role=Role.EDITOR, tenant=None, session="s")
    assert (
        Identity(subject="user:a#1", name="Ada", role=Role.OPERATOR, tenant=None, session="s").tenant is None
    )
