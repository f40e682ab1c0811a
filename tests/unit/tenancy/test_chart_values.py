"""The chart's values of tenants, by their plans."""

from pathlib import Path
from typing import Any

import pytest

from orchestrator_tenancy.chart_values import ManagedLocations, chart_values, own_releases
from orchestrator_tenancy.platform_files import read_platform, releases
from orchestrator_tenancy.tenants import BadTenancy, Tenancy, read_tenancy

MANAGED = ManagedLocations(image="dagster:1", images={"agno": "agno:1", "langgraph": "langgraph:1"})
BASE: dict[str, Any] = {
    "gateway": {"image": "gateway:1", "configuration": {"budgets": [{"scope": "agent", "calls": 5}]}},
    "tenants": {"platform": {"namespace": "platform-jobs"}},
}


def tenancy(**tenants: dict[str, Any]) -> Tenancy:
    return read_tenancy(
        {
            "organisations": {"acme": {"title": "Acme"}},
            "plans": {
                "free": {"quotas": {"runs": 2, "gpus": 0, "tokens": 1_000_000}},
                "team": {"custom_locations": True},
                "rich": {"nodes": "dedicated", "instance": "own", "quotas": {"cpu": "64", "storage": "1Ti"}},
            },
            "tenants": {name: {"organisation": "acme", **fields} for name, fields in tenants.items()},
        }
    )


def test_a_managed_location_runs_what_is_the_platforms() -> None:
    values = chart_values(tenancy(red={"plan": "free", "locations": {"red-agents": {}}}), BASE, MANAGED)
    assert values["locations"]["red-agents"] == {
        "tenant": "red",
        "image": "dagster:1",
        "module": "orchestrator_tenancy.managed_definitions",
        "images": {"agno": "agno:1", "langgraph": "langgraph:1"},
    }
    assert values["tenants"] == {
        "platform": {"namespace": "platform-jobs"},
        "red": {"quota": {"pods": 4, "gpus": {"nvidia.com/gpu": 0}}},
    }


def test_a_custom_location_has_its_own_image_and_may_change_it() -> None:
    own = {"kind": "custom", "image": "registry.example/blue:1", "module": "blue", "gpu_types": ["H100"]}
    fields = {"plan": "team", "repositories": ["registry.example/blue"], "frameworks": ["agno"]}
    found = chart_values(tenancy(blue=fields | {"locations": {"blue": own}}), BASE, MANAGED)["locations"]
    assert found["blue"] == {
        "tenant": "blue",
        "image": "registry.example/blue:1",
        "module": "blue",
        "images": {"agno": "agno:1"},
        "repositories": ["registry.example/blue"],
        "gpuTypes": ["H100"],
        "maxGpus": 1_000,
    }


def test_what_is_spent_in_a_month_is_a_budget_of_the_gateway() -> None:
    values = chart_values(tenancy(red={"plan": "free", "quotas": {"cost_usd": 5}}), BASE, MANAGED)
    assert values["gateway"]["configuration"]["budgets"] == [
        {"scope": "agent", "calls": 5},
        {"scope": "tenant", "name": "red", "per": "month", "tokens": 1_000_000, "cost_usd": 5},
    ]
    assert len(BASE["gateway"]["configuration"]["budgets"]) == 1, "the operator's own values are as they were"


def test_which_models_a_tenant_may_use_is_said_to_the_gateway() -> None:
    models: dict[str, Any] = {"fast": {}, "large": {}}
    base: dict[str, Any] = {
        "gateway": {"configuration": {"models": models, "tenants": {"platform": {"models": []}}}}
    }
    two = tenancy(red={"plan": "free", "models": ["fast"]}, blue={"plan": "free"})
    configuration = chart_values(two, base, MANAGED)["gateway"]["configuration"]
    assert configuration["tenants"] == {"platform": {"models": []}, "red": {"models": ["fast"]}}
    few = tenancy(red={"plan": "free", "models": ["fast"], "quotas": {"executions": 7}})
    configuration = chart_values(few, base, MANAGED)["gateway"]["configuration"]
    assert configuration["tenants"]["red"] == {"models": ["fast"], "executions": 7}
    unknown = tenancy(red={"plan": "free", "models": ["fast", "best"]})
    with pytest.raises(BadTenancy, match=r"tenants\.red\.models: .* no model 'best'; it has fast, large"):
        chart_values(unknown, base, MANAGED)
    base["gateway"]["configuration"]["default"] = {"upstream": "own"}
    assert chart_values(unknown, base, MANAGED)["gateway"]["configuration"]["tenants"]["red"]["models"]
    nothing = tenancy(red={"plan": "free", "models": []})
    assert chart_values(nothing, base, MANAGED)["gateway"]["configuration"]["tenants"]["red"] == {
        "models": []
    }


def test_a_tenant_of_a_plan_with_its_own_instance_is_in_a_release_of_its_own() -> None:
    both = tenancy(red={"plan": "free"}, gold={"plan": "rich", "locations": {"gold-agents": {}}})
    assert own_releases(both) == ["gold"]
    shared, own = chart_values(both, BASE, MANAGED), chart_values(both, BASE, MANAGED, only="gold")
    assert "gold" not in shared["tenants"] and "gold-agents" not in shared["locations"]
    assert own["tenants"]["gold"] == {"quota": {"pods": None, "cpu": "64", "storage": "1Ti"}}
    assert own["locations"]["gold-agents"]["nodeSelector"] == {"orchestrator/tenant": "gold"}
    assert own["locations"]["gold-agents"]["tolerations"][0]["value"] == "gold"


@pytest.mark.parametrize(
    ("only", "base", "why"),
    [
        ("green", BASE, "there is no tenant 'green'; there are red"),
        ("red", BASE, "it is a part of the release of all others"),
        (None, {"tenants": {"red": {}}}, r"tenants\.red stands in the values, and is a tenant's"),
    ],
)
def test_what_no_release_can_be_made_of_is_said(only: str | None, base: dict[str, Any], why: str) -> None:
    with pytest.raises(BadTenancy, match=why):
        chart_values(tenancy(red={"plan": "free"}), base, MANAGED, only=only)


PLATFORM = """\
chart: helm/orchestrator
values: {postgresql: {host: shared, port: 5432}, daemon: {image: "dagster:1"}}
managed: {image: "dagster:1"}
own: {gold: {values: {postgresql: {host: of-gold}}}}
"""


def test_each_tenant_with_its_own_instance_has_a_release_with_its_own_values(tmp_path: Path) -> None:
    (tmp_path / "platform.yaml").write_text(PLATFORM)
    shared, gold = releases(
        read_platform(tmp_path / "platform.yaml"), tenancy(red={"plan": "free"}, gold={"plan": "rich"})
    )
    assert (shared.name, shared.namespace) == ("agents", "agents") and list(shared.values["tenants"]) == [
        "red"
    ]
    assert (gold.name, gold.namespace) == ("agents-gold", "agents-gold")
    assert gold.values["postgresql"] == {"host": "of-gold", "port": 5432}
    assert shared.values["postgresql"]["host"] == "shared" and gold.values["daemon"] == {"image": "dagster:1"}


@pytest.mark.parametrize(
    ("written", "why"),
    [
        (PLATFORM.replace("own:", "owns:"), "owns: Extra inputs are not permitted"),
        (PLATFORM.replace("managed: {", "managed: ["), "cannot be read: while parsing"),
        (
            PLATFORM.replace("{gold:", "{silver:"),
            "the plan of 'gold' has `instance: own`: say in the platform's file",
        ),
    ],
)
def test_what_is_missing_in_the_platforms_file_is_said(written: str, why: str, tmp_path: Path) -> None:
    (tmp_path / "platform.yaml").write_text(written)
    with pytest.raises(BadTenancy, match=why):
        releases(read_platform(tmp_path / "platform.yaml"), tenancy(gold={"plan": "rich"}))
