"""What all pods of a tenant may have together."""

from typing import Any

from tests.helm.charts import LEAST, render


def hard(quota: dict[str, Any]) -> Any:
    found = render(LEAST, {"tenants": {"acme": {"quota": quota}}}).of("tenant-quotas.yaml")
    return found[0]["spec"]["hard"] if found else None


def test_pods_are_always_bounded() -> None:
    assert hard({}) == {"pods": "50"}


def test_everything_is_bounded_that_is_named() -> None:
    gpus = {"nvidia.com/gpu": 4, "nvidia.com/mig-1g.10gb": 0}
    assert hard({"pods": 7, "cpu": "32", "memory": "64Gi", "storage": "1Ti", "gpus": gpus}) == {
        "pods": "7",
        "requests.cpu": "32",
        "requests.memory": "64Gi",
        "limits.memory": "64Gi",
        "requests.storage": "1Ti",
        "requests.nvidia.com/gpu": "4",
        "requests.nvidia.com/mig-1g.10gb": "0",
    }


def test_a_tenant_may_have_nothing() -> None:
    assert hard({"pods": 0}) == {"pods": "0"}
