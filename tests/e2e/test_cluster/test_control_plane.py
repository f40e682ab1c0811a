"""Runs bear that the API server is away, that their node is drained, and that its disk is full."""

import contextlib
import json
import os
import signal
import time
from collections.abc import Generator
from pathlib import Path

import pytest

from orchestrator_tools.cluster.places import KUBELET_FOLDER, NODE, places
from orchestrator_tools.cluster.records import node_process
from tests.e2e.kubectl import kubectl
from tests.e2e.platforms import Platform
from tests.e2e.run_checks import gone, in_turn, once
from tests.e2e.test_cluster.components import component

pytestmark = pytest.mark.timeout(1_200)

AWAY_SECONDS = 60.0
TOLD_SECONDS = 30.0
LITTLE_BYTES = 600 * 2**20
"""Less than a pod may have."""


def test_runs_bear_that_the_api_server_is_away_for_a_minute(platform: Platform) -> None:
    quick, slow = len(platform.calls("quick")), len(platform.calls("slow"))
    running = platform.launch("trials", "run_slow")
    platform.asked("slow", slow + 1)
    with platform.asked_directly():
        with away(AWAY_SECONDS):
            started = platform.launch("trials", "run_quick")
            platform.ends(running, "SUCCESS", AWAY_SECONDS - 5)
            platform.says(
                started, "The run waits for the API server, which makes no job for it now", AWAY_SECONDS
            )
        platform.ends(started, "SUCCESS")
    once(platform, running, started)
    in_turn(platform.calls("quick")[quick:], 1)
    in_turn(platform.calls("slow")[slow:], 1)


def test_a_drained_node_ends_a_run_with_the_reason_and_a_retry_repeats_no_model_call(
    platform: Platform,
) -> None:
    before = len(platform.calls("slow_again"))
    run_id = platform.launch("trials", "run_slow_again_twice")
    platform.asked("slow_again", before + 2)
    with drained(run_id):
        platform.ends(run_id, "FAILURE", 90)
        platform.says(
            run_id, "the pod is taken away", TOLD_SECONDS
        )  # by its pod or, once that is gone, its job
        gone(platform, run_id)
        platform.until(lambda: bool(platform.retries_of(run_id)), 90, f"run {run_id} is tried again")
        (retry,) = platform.retries_of(run_id)
        words = "the pod waits for a node that has room for it: 0/1 nodes are available: 1 node(s) were unschedulable"
        platform.says(retry, words, 60)
    platform.ends(retry, "SUCCESS", 200)
    once(platform, retry)
    in_turn(platform.calls("slow_again")[before:], 1)


def test_a_full_disk_ends_the_run_that_fills_it_and_others_wait_until_there_is_room(
    platform: Platform,
) -> None:
    quick = len(platform.calls("quick"))
    with little_disk(LITTLE_BYTES):
        filling = platform.launch("trials", "run_filling")
        platform.ends(filling, "FAILURE", 180)
        # where the run was faster to say that it was interrupted, the reason follows
        platform.says(filling, "The node was low on resource: ephemeral-storage", TOLD_SECONDS)
        waiting = platform.launch("trials", "run_quick")
        platform.says(waiting, "had untolerated taint(s)", 60)
    platform.ends(waiting, "SUCCESS", 200)
    once(platform, waiting)
    in_turn(platform.calls("quick")[quick:], 1)


@contextlib.contextmanager
def little_disk(left: int) -> Generator[None]:
    """Have a node whose disk has so many bytes left, within a block."""
    node = node_process(places())
    assert node is not None and places().disk.exists(), (
        "the node has no disk of its own: see what cluster-up says"
    )
    folder = Path(f"/proc/{node.pid}/root{KUBELET_FOLDER}")
    disk = os.statvfs(folder)
    filler = folder / "filler"
    with filler.open("xb") as file:
        try:
            os.posix_fallocate(file.fileno(), 0, disk.f_bavail * disk.f_frsize - left)
            yield
        finally:
            filler.unlink()


@contextlib.contextmanager
def away(seconds: float) -> Generator[None]:
    """Have an API server that does not answer, for so long at least, and until the end of a block."""
    until = time.monotonic() + seconds
    process = component("kube-apiserver")
    os.kill(process, signal.SIGSTOP)
    try:
        yield
        time.sleep(max(until - time.monotonic(), 0))
    finally:
        os.kill(process, signal.SIGCONT)


@contextlib.contextmanager
def drained(run_id: str) -> Generator[None]:
    """Have a node that takes no more pods, and has lost that of a run."""
    words = ("--force", "--ignore-daemonsets", "--delete-emptydir-data", "--timeout=60s")
    try:
        kubectl("drain", NODE, f"--pod-selector=dagster/run-id={run_id}", *words, seconds=90)
        yield
    finally:
        kubectl("uncordon", NODE)
        node = json.loads(kubectl("get", "node", NODE, "--output=json"))
        assert not node["spec"].get("unschedulable")
