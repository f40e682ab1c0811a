"""What counts as different on a cluster, and what does not."""

import copy
from typing import Any

from orchestrator_tenancy.drift import drift

QUOTA: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "ResourceQuota",
    "metadata": {"name": "agents-tenant", "namespace": "acme", "labels": {"a": "1"}},
    "spec": {"hard": {"pods": "4", "requests.cpu": "1000m"}},
}
DEPLOYMENT: dict[str, Any] = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "code", "namespace": "acme"},
    "spec": {
        "template": {
            "spec": {
                "containers": [
                    {"name": "main", "image": "a:1", "env": [], "args": ["x", "y"]},
                    {"name": "other", "image": "b:1"},
                ],
                "hostNetwork": False,
            }
        }
    },
}


def changed(manifest: dict[str, Any], *path: Any, to: Any) -> dict[str, Any]:
    found = copy.deepcopy(manifest)
    part = found
    for key in path[:-1]:
        part = part[key]
    part[path[-1]] = to
    return found


def told(wanted: dict[str, Any], found: dict[str, Any] | None) -> list[str]:
    return [str(one) for one in drift(wanted, found)]


def test_what_is_as_it_was_made_has_no_drift() -> None:
    assert told(QUOTA, QUOTA) == [] and told(DEPLOYMENT, DEPLOYMENT) == []


def test_what_others_add_and_what_is_written_otherwise_is_no_drift() -> None:
    found = changed(QUOTA, "spec", "hard", to={"pods": 4, "requests.cpu": "1"})
    assert told(QUOTA, {**found, "status": "used"}) == []
    container = {"name": "main", "image": "a:1", "args": ["x", "y"], "terminationMessagePath": "/dev/x"}
    other = {"name": "other", "image": "b:1"}
    found = changed(DEPLOYMENT, "spec", "template", "spec", to={"containers": [other, container]})
    assert told(DEPLOYMENT, found) == []


def test_what_is_gone_or_changed_is_named() -> None:
    assert told(QUOTA, None) == ["ResourceQuota acme/agents-tenant: is not there"]
    found = changed(QUOTA, "spec", "hard", "pods", to="400")
    assert told(QUOTA, found) == ["ResourceQuota acme/agents-tenant: spec.hard.pods is '400', not '4'"]
    found = changed(DEPLOYMENT, "spec", "template", "spec", "containers", 1, "image", to="evil:1")
    where = "spec.template.spec.containers[other].image"
    assert told(DEPLOYMENT, found) == [f"Deployment acme/code: {where} is 'evil:1', not 'b:1'"]
    found = changed(DEPLOYMENT, "spec", "template", "spec", "containers", 0, "args", to=["x"])
    assert told(DEPLOYMENT, found) == [
        "Deployment acme/code: spec.template.spec.containers[main].args is ['x'], not ['x', 'y']"
    ]
    found = changed(QUOTA, "metadata", "labels", to=None)
    assert told(QUOTA, found) == ["ResourceQuota acme/agents-tenant: metadata.labels is None, not {'a': '1'}"]
