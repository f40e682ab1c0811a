"""What code locations may have, as an operator writes it."""

from typing import Any

import pytest

from orchestrator_cluster.bindings import BadBindings, read_bindings

LOCATION = {"tenant": "acme", "namespace": "acme", "image": "acme:1", "network": "open"}


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
        (bindings({"image": None}), "locations.team: .*either `image`, or `repositories`"),
        (bindings({"repositories": ["registry.example/acme"]}), "locations.team: .*either `image`"),
        (bindings({"image": None, "repositories": ["acme:1"]}), "locations.team.repositories.0"),
        (bindings({"gpu_types": ["H100"]}), "locations.team.gpu_types: 'H100' is not .* there are none"),
        (bindings(gpus=[{"name": "H100"}]), "gpus.0.memory_mb: Field required"),
        (bindings(gpus=[{"name": "H100", "memory_mb": 1, "resource": "cpu"}]), "gpus.0.resource"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(written: dict[str, Any], why: str) -> None:
    with pytest.raises(BadBindings, match=why):
        read_bindings(written)


@pytest.mark.parametrize(
    ("named", "taken"),
    [
        ("registry.example:5000/acme/agents", True),
        ("registry.example:5000/acme/agents:2026-11", True),
        ("registry.example:5000/acme/agents@sha256:" + "0" * 64, True),
        ("registry.example:5000/acme/agents:1@sha256:" + "0" * 64, True),
        ("registry.example:5000/acme/agents/other:1", False),
        ("registry.example:5000/acme/agents-of-another:1", False),
        ("registry.example:5000/acme/agents:1\n", False),
        ("registry.example:5000/acme/agents@sha256:0", False),
        ("acme/agents:1", False),
        ("", False),
    ],
)
def test_an_own_image_comes_from_an_own_repository(named: str, taken: bool) -> None:
    found = read_bindings(
        bindings({"image": None, "repositories": ["registry.example:5000/acme/agents", "acme/other"]})
    )
    assert found.locations["team"].takes_image(named) is taken
