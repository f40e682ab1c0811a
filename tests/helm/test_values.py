"""Each value does something, none is read that there is not, and wrong ones are refused with their place."""

import re
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import pytest

from orchestrator_tools.chart.files import CHART
from orchestrator_tools.chart.schema import Value, values, values_schema
from tests.helm.charts import LEAST, ONE_TEAM, TEAMS, Refused, merged, render, rendered_text
from tests.helm.samples import Samples

SCHEMA: Final = values_schema()
CLOSED: Final = {"locations": {"reviews": {"gpuTypes": list[str]()}}}

PORTS: Final = {"tenants": {"acme": {"calls": [{"ports": [443]}]}}}

BESIDE: Final[Mapping[str, Mapping[str, Any]]] = {
    "postgresql.host": {"postgresql": {"own": None}},
    "postgresql.peers": {"postgresql": {"own": None, "host": "postgresql.example"}},
    "webServer.readOnly": ONE_TEAM,
    "gpus": CLOSED,
    "tenants.NAME.calls": PORTS,
}
"""What else has to be so that values below these make a difference."""
CHOSEN: Final[Mapping[str, tuple[Any, Any]]] = {
    "gateway.configuration.tenants.NAME.executions": (10, 20),  # each gateway has a part, and one at least
    "tenants": (TEAMS["tenants"], {**TEAMS["tenants"], "third": {}}),
    "tenants.NAME.calls": ([{"ports": [80]}], [{"ports": [443]}]),
    "locations": (TEAMS["locations"], {"support": TEAMS["locations"]["support"]}),
    "locations.NAME.tenant": ("acme", "rival"),
    "locations.NAME.gpuTypes": ([], ["H100"]),
}
"""Values that stand for something else that is there."""


def makes_a_difference(value: Value) -> bool:
    """Return whether two choices of a value make different objects."""
    samples, path = Samples(SCHEMA), ".".join(value.path)
    beside = [more for start, more in BESIDE.items() if path == start or path.startswith(f"{start}.")]
    base = merged(TEAMS, *beside)
    one, other = CHOSEN.get(path) or samples.two(value.schema)
    made = [rendered_text(samples.with_value(base, value, chosen)) for chosen in (one, other)]
    return made[0] != made[1]


@pytest.mark.timeout(600)
def test_each_value_reaches_an_object() -> None:
    every = list(values(SCHEMA))
    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(makes_a_difference, every))
    assert [".".join(value.path) for value, differs in zip(every, results, strict=True) if not differs] == []
    assert len(every) > 200


def test_a_value_that_reaches_nothing_would_be_seen() -> None:
    version = Value(path=("global",), schema={"type": "object"}, description="", required=False, default=None)
    assert not makes_a_difference(version)


def test_templates_read_no_value_that_there_is_not() -> None:
    there = {value.path[:length] for value in values(SCHEMA) for length in range(1, len(value.path) + 1)}
    read = {
        tuple(found.split("."))
        for template in (CHART / "templates").iterdir()
        for found in re.findall(r"\.Values\.([\w.]*\w)", template.read_text())
    }
    assert len(read) > 30
    assert {path for path in read if path not in there} == set()


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"gateways": {}}, "additional properties 'gateways' not allowed"),
        ({"gateway": {"replica": 2}}, "at '/gateway': additional properties 'replica' not allowed"),
        ({"gateway": {"replicas": "2"}}, "at '/gateway/replicas': got string, want integer"),
        ({"gateway": {"replicas": 0}}, "at '/gateway/replicas': minimum: got 0, want 1"),
        (
            {"gateway": {"resources": {"memory": "lots"}}},
            "at '/gateway/resources/memory': 'lots' does not match",
        ),
        ({"gateway": {"secret": {"value": "abc"}}}, "at '/gateway/secret': additional properties 'value'"),
        (
            {"gateway": {"configuration": {"upstreams": {"own": {"url": "http://own"}}}}},
            "at '/gateway/configuration/upstreams/own': missing property 'base_url'",
        ),
        (
            {"postgresql": {"password": "abc"}},
            "at '/postgresql': additional properties 'password' not allowed",
        ),
        ({"tenants": {"Acme": {}}}, "at '/tenants': additional properties 'Acme' not allowed"),
        (
            {"tenants": {"acme": {"quota": {"gpu": 1}}}},
            "at '/tenants/acme/quota': additional properties 'gpu'",
        ),
        (
            {"locations": {"reviews": {"tenant": "acme"}}},
            "at '/locations/reviews': missing properties 'image', 'module'",
        ),
        ({"network": {"dns": [{"cidr": "10.0.0.0/8"}]}}, "at '/network/dns/0': additional properties 'cidr'"),
    ],
)
def test_what_is_wrong_is_refused_with_its_place(changes: dict[str, Any], why: str) -> None:
    with pytest.raises(Refused, match=re.escape(why)):
        render(LEAST, changes)


@pytest.mark.parametrize(
    ("path", "why"),
    [
        (("gateway", "image"), "at '/gateway': missing property 'image'"),
        (("gateway", "secret"), "at '/gateway/secret': missing properties 'name', 'key'"),
        (
            ("gateway", "configuration", "upstreams"),
            "at '/gateway/configuration': missing property 'upstreams'",
        ),
        (("daemon", "image"), "at '/daemon': missing property 'image'"),
        (("webServer", "image"), "at '/webServer': missing property 'image'"),
        (
            ("postgresql", "passwordSecret"),
            "at '/postgresql/passwordSecret': missing properties 'name', 'key'",
        ),
        (("postgresql", "host"), "postgresql.host: set it to the address of a server"),
    ],
)
def test_what_is_missing_is_named(path: tuple[str, ...], why: str) -> None:
    values = merged(LEAST)
    place = values
    for key in path[:-1]:
        place = place[key]
    del place[path[-1]]
    with pytest.raises(Refused, match=re.escape(why)):
        render(values)
