"""Runs in pods that waited for one, on a whole platform."""

from datetime import datetime

import pytest

from tests.e2e.platforms import Platform
from tests.e2e.waiting_pods import name_of, ready, warm_pods

pytestmark = pytest.mark.timeout(900)


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
