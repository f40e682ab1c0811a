"""Runs of agents as pods, of images that are built here: from the launch to the end, whatever is lost in between."""

import time
from typing import Any

import pytest

from tests.e2e.platforms import Platform
from tests.e2e.run_checks import gone

pytestmark = pytest.mark.timeout(900)

LOST_SECONDS = 20.0
"""From the cluster's knowing of a loss to the run's end; two are usual, on an idle machine."""


def unfinished(platform: Platform) -> set[str]:
    """Return the pods of runs that did not succeed; the platform is that of other tests, too."""
    words = ("--selector=app.kubernetes.io/component=run_worker", "--field-selector=status.phase!=Succeeded")
    return set(platform.namespace.ask("get", "pods", *words, "--output=name").split())


@pytest.fixture(scope="module", autouse=True)
def left_before(platform: Platform) -> set[str]:
    """What others left."""
    return unfinished(platform)


def sidecars(pod: dict[str, Any]) -> list[str]:
    return [str(one["name"]).split("-")[-1] for one in pod["spec"]["initContainers"]]


def test_a_run_is_a_pod_with_a_guest_server_and_succeeds(platform: Platform) -> None:
    before = len(platform.calls("quick"))
    run_id = platform.launch("trials", "run_quick")
    run = platform.ends(run_id, "SUCCESS")
    assert "ASSET_MATERIALIZATION" in run.text or "Materialized value" in run.text
    pod = platform.pod(run_id)
    assert sidecars(pod) == ["langgraph"] and pod["spec"]["automountServiceAccountToken"] is False
    assert platform.calls("quick")[before:] == [1, 2]


def test_a_run_that_is_terminated_ends_its_pod(platform: Platform) -> None:
    before = len(platform.calls("slow"))
    run_id = platform.launch("trials", "run_slow")
    platform.asked("slow", before + 1)
    began = time.monotonic()
    platform.terminate(run_id)
    platform.ends(run_id, "CANCELED", 60)
    gone(platform, run_id)
    assert time.monotonic() - began < 60


def test_a_run_that_cannot_start_is_terminated_at_once(platform: Platform) -> None:
    run_id = platform.launch("too_big", "run_quick")
    platform.pod(run_id)
    platform.says(run_id, "the pod waits for a node that has room for it", 60)
    platform.terminate(run_id, force=True)
    platform.ends(run_id, "CANCELED", 30)
    gone(platform, run_id)


def test_a_guest_server_that_is_lost_ends_the_run_and_a_retry_repeats_no_model_call(
    platform: Platform,
) -> None:
    before = len(platform.calls("slow_again"))
    run_id = platform.launch("trials", "run_slow_again_twice")
    platform.asked("slow_again", before + 2)
    pod = platform.pod(run_id)
    stop = "import os, signal; os.kill(1, signal.SIGTERM)"
    began = time.time()
    container = f"--container={pod['spec']['initContainers'][0]['name']}"
    platform.namespace.ask("exec", pod["metadata"]["name"], container, "--", "python", "-c", stop)
    run = platform.ends(run_id, "FAILURE", 90)
    said = "The run cannot go on: the container 'guests-0-agno' ended with status 0"
    assert run.when(said) - began < LOST_SECONDS
    gone(platform, run_id)
    platform.until(lambda: bool(platform.retries_of(run_id)), 90, f"run {run_id} is tried again")
    platform.ends(platform.retries_of(run_id)[0], "SUCCESS", 200)
    assert platform.calls("slow_again")[before:] == [1, 2], "the second run has all answers from the journal"


def test_nothing_but_finished_pods_is_left(platform: Platform, left_before: set[str]) -> None:
    platform.until(
        lambda: unfinished(platform) <= left_before, 60, "no pod of a run is left that did not succeed"
    )
