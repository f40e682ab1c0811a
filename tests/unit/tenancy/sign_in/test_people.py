"""What claims make of somebody."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator_tenancy.identities import Role
from orchestrator_tenancy.sign_in.people import Grant, person_of, read_person, written_person
from orchestrator_tenancy.sign_in.settings import ClaimRule
from orchestrator_tenancy.tenants import read_tenancy

GROUPS = ClaimRule(claim="groups", value="/acme/(?P<tenant>[a-z]+)/(?P<role>[a-z-]+)")
OPERATORS = ClaimRule(claim="https://acme.example/roles", value="operators?", role=Role.OPERATOR)
NESTED = ClaimRule(claim="realm_access.roles", value="red-staff", tenant="red", role=Role.LAUNCHER)
ODD = st.sampled_from(["", "roles", "a", "/acme/red/editor", "\x00\n", "\udcff", "é", "x" * 300])
PLAIN = st.none() | st.booleans() | st.integers() | ODD
JSON = (
    PLAIN
    | st.lists(PLAIN, max_size=3)
    | st.dictionaries(ODD, PLAIN | st.lists(PLAIN, max_size=2), max_size=3)
)


def grants(claims: dict[str, Any], *rules: ClaimRule) -> tuple[Grant, ...]:
    return person_of({"sub": "ada", **claims}, issuer="i", name="name", rules=rules).grants


@pytest.mark.parametrize(
    ("claims", "expected"),
    [
        ({"groups": ["/acme/red/editor"]}, [("red", Role.EDITOR)]),
        ({"groups": "/acme/red/editor"}, [("red", Role.EDITOR)]),
        (
            {"groups": ["/acme/red/editor", "/acme/red/editor", "/acme/blue/viewer"]},
            [("red", "editor"), ("blue", "viewer")],
        ),
        ({"groups": ["/acme/red/operator"]}, []),
        ({"groups": ["/acme/red/boss"]}, []),
        ({"groups": ["x/acme/red/editor", "/acme/red/editor/x", "/acme/red/editor\n"]}, []),
        ({"groups": [None, 7, ["/acme/red/editor"], {"a": 1}]}, []),
        ({"groups": ["/acme/red/editor" + "x" * 600]}, []),
        ({"https://acme.example/roles": ["operator"]}, [(None, Role.OPERATOR)]),
        ({"realm_access": {"roles": ["red-staff"]}}, [("red", Role.LAUNCHER)]),
        ({"realm_access.roles": "red-staff"}, [("red", Role.LAUNCHER)]),
        ({"realm_access": ["roles"]}, []),
        ({}, []),
    ],
)
def test_rules_make_roles(claims: dict[str, Any], expected: list[tuple[str | None, str]]) -> None:
    found = grants(claims, GROUPS, OPERATORS, NESTED)
    assert [(grant.tenant, grant.role) for grant in found] == [(t, Role(r)) for t, r in expected]


TENANCY = read_tenancy(
    {
        "organisations": {"acme": {"title": "Acme"}},
        "plans": {"free": {}},
        "tenants": {
            "red": {
                "organisation": "acme",
                "plan": "free",
                "members": {
                    "ada": {"role": "viewer"},
                    "Ada@Acme.example": {"role": "launcher"},
                    "carl@acme.example": {"role": "tenant-admin"},
                },
            },
            "blue": {"organisation": "acme", "plan": "free"},
        },
    }
)


def roles(**claims: Any) -> dict[str, Role]:
    person = person_of({"sub": "somebody", **claims}, issuer="i", name="name", rules=[GROUPS])
    return dict(person.roles(TENANCY))


def test_members_are_those_of_the_tenant() -> None:
    assert roles(sub="ada") == {"red": Role.VIEWER}
    assert roles(email="ada@acme.example", email_verified=True) == {"red": Role.LAUNCHER}
    assert roles(sub="ada", email="ADA@acme.EXAMPLE", email_verified=True) == {"red": Role.LAUNCHER}
    assert roles(sub="ada", groups=["/acme/red/editor"]) == {"red": Role.EDITOR}
    assert roles(groups=["/acme/gone/editor", "/acme/blue/viewer"]) == {"blue": Role.VIEWER}


@pytest.mark.parametrize("seen", [False, None, "true", 1, "yes"])
def test_an_address_that_the_provider_has_not_seen_counts_for_nothing(seen: object) -> None:
    assert roles(email="carl@acme.example", email_verified=seen) == {}


def test_a_subject_that_looks_like_an_address_is_none() -> None:
    assert roles(sub="carl@acme.example") == {}


@pytest.mark.parametrize("subject", [None, "", 7, ["a"], "a" * 256, "a\nb", "a\x00"])
def test_a_subject_that_is_none_is_refused(subject: object) -> None:
    with pytest.raises(ValueError, match="'sub'"):
        person_of({"sub": subject}, issuer="i", name="name", rules=[])


@given(st.dictionaries(st.sampled_from(["name", "email", "groups", "realm_access", "email_verified"]), JSON))
def test_no_claims_break_it_and_a_person_comes_back_as_written(claims: dict[str, Any]) -> None:
    person = person_of({"sub": "ada", **claims}, issuer="i", name="name", rules=[GROUPS, OPERATORS, NESTED])
    assert person.name and person.name.isprintable() and len(person.name) <= 200
    assert read_person(written_person(person)) == person
    assert not person.operator
