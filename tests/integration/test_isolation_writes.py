"""No mutation changes anything of another tenant; each is shown to change what is its owner's.

The owner's turn comes last: it uses up what is planted, so these tests have tenants of their own.
"""

from collections.abc import Iterator, Mapping

import pytest
from dagster_graphql.schema import create_schema
from graphql import GraphQLSchema

from orchestrator_tenancy.identities import Role
from orchestrator_tenancy.web.policy import MUTATIONS
from tests.integration.graphql_selections import operation
from tests.integration.isolation_counts import Counts
from tests.integration.postgres_servers import PostgresServer
from tests.integration.tenant_changes import NOT_ASKED, REACHED, forged, mutations
from tests.integration.tenant_plants import NOBODY, Plants, planted_tenants
from tests.integration.tenant_roots import BROKEN, nested
from tests.integration.tenant_rows import changed, rows_about
from tests.integration.tenant_web import Web

# Dagster warns of much, such as the location that lies about whose its assets are; its server goes on
pytestmark = pytest.mark.filterwarnings("ignore")

Tenants = tuple[Web, Plants, Plants]

_SCHEMA: GraphQLSchema = create_schema().graphql_schema

_ORDER = [name for name in mutations(NOBODY) if name not in NOT_ASKED]
"""In which each mutation finds what it changes."""


@pytest.fixture(scope="module")
def two_tenants(postgres: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tenants]:
    """Tenants that other tests do not ask for anything: these use them up."""
    with planted_tenants(tmp_path_factory.mktemp("changed"), postgres.database()) as planted:
        yield planted


@pytest.mark.parametrize("name", sorted(MUTATIONS))
def test_a_mutation_changes_nothing_of_another_tenant(
    name: str, two_tenants: Tenants, counts: Counts
) -> None:
    web, alpha, beta = two_tenants
    guessed = alpha.guessed()
    before = rows_about(web.database, alpha, beta)
    counts.tried("mutations", name)
    for way in (*mutations(guessed)[name], *forged(guessed, beta).get(name, ())):
        told = web.post("beta/tenant-admin", _operation(name, way, guessed)).text
        counts.reached("reads", told.count(alpha.secret))
        assert alpha.secret not in told
        foreign = changed(before, rows_about(web.database, alpha, beta))
        counts.reached("writes", len(foreign))
        assert not foreign, told


@pytest.mark.parametrize("name", sorted(MUTATIONS))
def test_who_has_not_the_role_changes_nothing(name: str, two_tenants: Tenants) -> None:
    web, alpha, beta = two_tenants
    less = {Role.LAUNCHER: "viewer", Role.EDITOR: "launcher", Role.OPERATOR: "tenant-admin"}[MUTATIONS[name]]
    before = rows_about(web.database, alpha, beta)
    for way in mutations(alpha)[name]:
        told = web.post(f"alpha/{less}", _operation(name, way, alpha))
        answer = told.json()
        assert "is not for you" in answer["errors"][0]["message"], answer
        assert told.status_code == 200 and "extensions" not in told.text and answer["errors"][0]["path"]
    assert not changed(before, rows_about(web.database, alpha, beta))


@pytest.mark.parametrize("name", _ORDER)
def test_the_owner_changes_it(name: str, two_tenants: Tenants) -> None:
    web, alpha, beta = two_tenants
    who = "/operator" if MUTATIONS[name] is Role.OPERATOR else f"alpha/{MUTATIONS[name].value}"
    before = rows_about(web.database, alpha, beta)
    told = "".join(web.post(who, _operation(name, way, alpha)).text for way in mutations(alpha)[name])
    if name in REACHED:
        assert REACHED[name] in told
    else:
        assert changed(before, rows_about(web.database, alpha, beta)), told


def _operation(name: str, way: Mapping[str, str], of: Plants) -> str:
    return operation(_SCHEMA, "mutation", name, way, nested(of), BROKEN, 1)
