"""No query, however deep, tells a tenant anything of another; each is shown to tell its owner."""

import re
from collections.abc import Mapping
from typing import Any

import pytest
from dagster_graphql.schema import create_schema
from graphql import GraphQLObjectType, GraphQLSchema

from orchestrator_tenancy.web.policy import QUERIES
from tests.integration.graphql_selections import operation, reachable
from tests.integration.isolation_counts import Counts
from tests.integration.tenant_changes import mutations
from tests.integration.tenant_plants import Plants
from tests.integration.tenant_roots import BROKEN, DEEP, HOLD_NOTHING, nested, queries, subscriptions
from tests.integration.tenant_web import Web

# Dagster warns of much, such as the location that lies about whose its assets are; its server goes on
pytestmark = pytest.mark.filterwarnings("ignore")

_SCHEMA: GraphQLSchema = create_schema().graphql_schema
_SCHEMA_ROOTS = _SCHEMA.query_type, _SCHEMA.mutation_type, _SCHEMA.subscription_type

Tenants = tuple[Web, Plants, Plants]

_OF_THE_SERVER = "/site-packages/dagster_graphql/"
"""Stands in stacks of the server's own."""


@pytest.mark.parametrize("name", sorted(QUERIES))
def test_a_query_tells_nothing_of_another_tenant(name: str, two_tenants: Tenants, counts: Counts) -> None:
    web, alpha, _ = two_tenants
    guessed, absent = alpha.guessed(), alpha.absent()
    counts.tried("roots", name)
    for number, way in enumerate(queries(guessed)[name]):
        # beta's location says that alpha's assets are its own; delta's is honest, so to delta they are not there
        for who in ("beta/tenant-admin", "delta/viewer"):
            told = web.post(who, _operation(name, way, guessed, number)).text
            counts.reached("reads", told.count(alpha.secret))
            assert alpha.secret not in told and _OF_THE_SERVER not in told
        unknown = web.post(
            "delta/viewer", _operation(name, queries(absent)[name][number], absent, number)
        ).text
        assert _without_ids(told, guessed) == _without_ids(unknown, absent)


@pytest.mark.parametrize("name", sorted(set(QUERIES) - HOLD_NOTHING))
def test_the_same_query_tells_its_owner(name: str, two_tenants: Tenants) -> None:
    web, alpha, _ = two_tenants
    told = ""
    for number, way in enumerate(queries(alpha)[name]):
        answer = web.post("alpha/viewer", _operation(name, way, alpha, number))
        assert not _errors(answer.json())
        told += answer.text
    assert alpha.secret in told


def test_the_operations_ask_for_every_field_that_can_be_reached(two_tenants: Tenants) -> None:
    _, alpha, _ = two_tenants
    asked = "".join(
        _operation(name, way, alpha, number)
        for name, ways in queries(alpha).items()
        for number, way in enumerate(ways)
    )
    for kind, roots in (("mutation", mutations(alpha)), ("subscription", subscriptions(alpha))):
        asked += "".join(
            operation(_SCHEMA, kind, name, way, nested(alpha), BROKEN)
            for name, ways in roots.items()
            for way in ways
        )
    fields = {
        f"{named.name}_{field}"
        for named in reachable(_SCHEMA, BROKEN).values()
        if isinstance(named, GraphQLObjectType) and named not in _SCHEMA_ROOTS
        for field in named.fields
    }
    assert len(fields) > 1_500
    missing = {field for field in fields - BROKEN if f"{field}: " not in asked}
    assert not missing


def _operation(name: str, way: Mapping[str, str], of: Plants, number: int) -> str:
    deep = DEEP.get(name, 2) if number == 0 else 2
    return operation(_SCHEMA, "query", name, way, nested(of), BROKEN, deep)


def _errors(answer: Mapping[str, Any]) -> list[str]:
    """Return what failed, but for the known field that no argument makes right."""
    return [f"{error.get('path')}: {error['message']}" for error in answer.get("errors", ())]


def _without_ids(told: str, of: Plants) -> str:
    """Return an answer without what the question named, which it may repeat, and without ids of faults."""
    told = re.sub("fault-[0-9a-f]{12}", "FAULT", told)
    for given in of.named():
        told = told.replace(given, "NAMED")
    return told
