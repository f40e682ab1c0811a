"""Pods that wait for a run, as the cluster tells of them."""

import json
from typing import Any, Final

from tests.e2e.platforms import Platform

READY_SECONDS: Final = 200.0


def warm_pods(platform: Platform, location: str) -> list[dict[str, Any]]:
    """Return the pods of a location that wait for a run, or are to."""
    selector = f"--selector=orchestrator/warm,!dagster/run-id,dagster/code-location={location}"
    told = platform.namespace.ask("get", "pods", selector, "--output=json")
    pods: list[dict[str, Any]] = json.loads(told)["items"]
    return [pod for pod in pods if not pod["metadata"].get("deletionTimestamp")]


def ready(platform: Platform, location: str) -> dict[str, Any]:
    """Wait until a pod of a location waits for a run, and return it."""
    found = list[dict[str, Any]]()

    def waits() -> bool:
        pods = warm_pods(platform, location)
        found[:] = [pod for pod in pods if "ready after" in platform.namespace.logs(f"pod/{name_of(pod)}")]
        return bool(found)

    platform.until(waits, READY_SECONDS, f"a pod of {location!r} waits for a run")
    return found[0]


def name_of(pod: dict[str, Any]) -> str:
    return str(pod["metadata"]["name"])
