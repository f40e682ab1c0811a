"""What an operator says of tenants, as the chart renders it."""

from typing import Any

import yaml

from orchestrator_tenancy.chart_values import ManagedLocations, chart_values
from orchestrator_tenancy.tenant_store import with_plans
from orchestrator_tenancy.tenants import read_tenancy
from tests.helm.charts import LEAST, Rendered, render

MANAGED = ManagedLocations(image="dagster:1", images={"agno": "agno:1"})


def rendered(only: str | None = None, **tenants: dict[str, Any]) -> Rendered:
    written = {
        "organisations": {"acme": {"title": "Acme"}},
        "tenants": {name: {"organisation": "acme", **fields} for name, fields in tenants.items()},
    }
    return render(chart_values(read_tenancy(with_plans(written)), LEAST, MANAGED, only=only))


def test_a_tenant_has_a_namespace_a_quota_policies_and_a_code_server() -> None:
    found = rendered(red={"plan": "free", "locations": {"red-agents": {}}})
    namespace = "agents-red"
    assert [one["metadata"]["name"] for one in found.of("tenant-namespaces.yaml")] == [namespace]
    (quota,) = found.of("tenant-quotas.yaml")
    assert quota["metadata"]["namespace"] == namespace
    assert quota["spec"]["hard"] == {"pods": "4", "requests.nvidia.com/gpu": "0"}
    assert {one["metadata"]["namespace"] for one in found.of("network-tenants.yaml")} == {namespace}
    server = found.get("Deployment", "code-red-agents", namespace)
    (container,) = server["spec"]["template"]["spec"]["containers"]
    assert container["image"] == "dagster:1"
    assert "--module-name=orchestrator_tenancy.managed_definitions" in container["command"]


def test_a_dedicated_pool_holds_code_servers_and_runs_of_its_tenant_alone() -> None:
    location = {"gold-agents": {"kind": "custom", "image": "gold:1", "module": "gold"}}
    found = rendered("gold", gold={"plan": "enterprise", "locations": location}, red={"plan": "free"})
    server = found.get("Deployment", "code-gold-agents", "agents-gold")["spec"]["template"]["spec"]
    assert server["nodeSelector"] == {"orchestrator/tenant": "gold"}
    assert server["tolerations"] == [{"key": "orchestrator/tenant", "operator": "Equal", "value": "gold"}]
    instance = yaml.safe_load(found.get("ConfigMap", "instance")["data"]["dagster.yaml"])
    bound = instance["run_launcher"]["config"]["bindings"]["locations"]
    assert list(bound) == ["gold-agents"] and bound["gold-agents"]["tenant"] == "gold"
    assert bound["gold-agents"]["node_selector"] == {"orchestrator/tenant": "gold"}
