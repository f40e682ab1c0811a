"""Runs in pods that waited for one, on a whole platform."""

import json
from datetime import datetime
from typing import Any

import pytest

from tests.e2e.platforms import Platform

pytestmark = pytest.mark.timeout(900)

READY_SECONDS = 200.0


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


def taught(platform: Platform, location: str) -> None:
    """Let a location have had a run."""
    platform.ends(platform.launch(location, "run_quick"), "SUCCESS")


def test_a_run_begins_in_the_pod_that_waited_and_another_takes_its_place(platform: Platform) -> None:
    taught(platform, "warm")
    pod = ready(platform, "warm")
    run_id = platform.launch("warm", "run_quick")
    run = platform.ends(run_id, "SUCCESS")
    mine = platform.pod(run_id)
    assert mine["metadata"]["uid"] == pod["metadata"]["uid"], run.text
    made = datetime.fromisoformat(mine["metadata"]["creationTimestamp"]).timestamp()
    assert made < run.events[0][1], "it was there before the run was asked for"
    assert mine["spec"]["automountServiceAccountToken"] is False
    assert "in a pod that waited for it" in run.text
    assert ready(platform, "warm")["metadata"]["uid"] != pod["metadata"]["uid"]


def test_a_run_of_another_tenant_has_another_pod(platform: Platform) -> None:
    taught(platform, "warm")
    pod = ready(platform, "warm")
    run_id = platform.launch("warm_too", "run_quick")
    platform.ends(run_id, "SUCCESS")
    assert platform.pod(run_id)["metadata"]["uid"] != pod["metadata"]["uid"]
    assert name_of(pod) in {name_of(one) for one in warm_pods(platform, "warm")}


def test_a_run_in_a_warm_pod_is_terminated_with_it(platform: Platform) -> None:
    taught(platform, "warm")
    platform.ends(platform.launch("warm", "run_slow"), "SUCCESS")  # the latest shape is the same one
    pod = ready(platform, "warm")
    before = len(platform.calls("slow"))
    run_id = platform.launch("warm", "run_slow")
    platform.asked("slow", before + 1)
    assert platform.pod(run_id)["metadata"]["uid"] == pod["metadata"]["uid"]
    platform.terminate(run_id)
    platform.ends(run_id, "CANCELED", 60)
    platform.until(lambda: not platform.pods(run_id), 60, f"the pod of run {run_id} is gone")


def test_a_warm_pod_that_is_killed_is_replaced_and_no_run_fails_of_it(platform: Platform) -> None:
    taught(platform, "warm")
    pod = ready(platform, "warm")
    platform.namespace.ask("delete", "pod", name_of(pod), "--grace-period=0", "--force")
    platform.ends(platform.launch("warm", "run_quick"), "SUCCESS")
    assert ready(platform, "warm")["metadata"]["uid"] != pod["metadata"]["uid"]
