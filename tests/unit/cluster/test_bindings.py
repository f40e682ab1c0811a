"""What code locations may have, as an operator writes it."""

from typing import Any

import pytest

from orchestrator_cluster.bindings import BadBindings, read_bindings

LOCATION = {"tenant": "acme", "namespace": "acme", "image": "acme:1"}


def bindings(location: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    return {"locations": {"team": {**LOCATION, **(location or {})}}, **more}


def test_little_is_needed() -> None:
    found = read_bindings(bindings())
    assert found.locations["team"].max_gpus == 0 and found.locations["team"].run.memory == "1Gi"


@pytest.mark.parametrize(
    ("written", "why"),
    [
        ({}, "locations: Field required"),
        (bindings({"namespace": "Acme"}), "locations.team.namespace: String should match"),
        (bindings({"max_gpus": -1}), "locations.team.max_gpus"),
        (bindings({"imagess": {}}), "locations.team.imagess: Extra inputs"),
        (bindings({"run": {"memory": "lots"}}), "locations.team.run.memory"),
        (bindings({"gpu_types": ["H100"]}), "locations.team.gpu_types: 'H100' is not .* there are none"),
        (bindings(gpus=[{"name": "H100"}]), "gpus.0.memory_mb: Field required"),
        (bindings(gpus=[{"name": "H100", "memory_mb": 1, "resource": "cpu"}]), "gpus.0.resource"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(written: dict[str, Any], why: str) -> None:
    with pytest.raises(BadBindings, match=why):
        read_bindings(written)
