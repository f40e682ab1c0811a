"""Runs go on, each once, while a part of the platform is restarted, doubled, or has another time than the others."""

import contextlib
import json
from collections.abc import Iterator

import pytest

from tests.e2e.clock_skews import skewed
from tests.e2e.kubectl import Refused
from tests.e2e.platforms import Platform
from tests.e2e.run_checks import in_turn, once

pytestmark = pytest.mark.timeout(1_200)

AWAY_SECONDS = 30
"""For which the database is away: as long as a pod needs that is moved to another node."""

END = """
import os, pathlib, signal, sys
pathlib.Path("/tmp/data/away").write_text(sys.argv[1])
os.kill(1, signal.SIGQUIT)
"""
QUEUED = 4
"""Runs that are queued at once."""


@pytest.fixture
def two_daemons(platform: Platform) -> Iterator[None]:
    """A second daemon beside the first, which waits for its end."""
    platform.namespace.ask("scale", "deployment/daemon", "--replicas=2")
    try:
        waits = "another daemon works for this instance: this one waits"
        platform.until(
            lambda: any(waits in said for said in daemons(platform).values()), 120, "one daemon waits"
        )
        yield
    finally:
        platform.namespace.ask("scale", "deployment/daemon", "--replicas=1")


def daemons(platform: Platform) -> dict[str, str]:
    """Return what each daemon that is there printed, by the name of its pod."""
    listed = platform.namespace.ask("get", "pods", "--selector=app=daemon", "--output=json")
    names = [str(pod["metadata"]["name"]) for pod in json.loads(listed)["items"]]
    return {name: platform.namespace.logs(f"pod/{name}") for name in names}


def kill_daemon(platform: Platform) -> None:
    """Kill the daemon that works, without giving it time to end."""
    for name, said in daemons(platform).items():
        if "this is the daemon that works" in said:
            platform.namespace.ask("delete", "pod", name, "--grace-period=0", "--force", "--wait=false")


def test_runs_that_are_queued_starting_or_running_bear_that_daemons_are_killed(platform: Platform) -> None:
    quick, slow = len(platform.calls("quick")), len(platform.calls("slow"))
    running = platform.launch("trials", "run_slow")
    platform.asked("slow", slow + 1)
    queued = list[str]()
    for _ in range(QUEUED):
        queued.append(platform.launch("trials", "run_quick"))
        kill_daemon(platform)
    for run_id in (running, *queued):
        platform.ends(run_id, "SUCCESS")
    once(platform, running, *queued)
    in_turn(platform.calls("quick")[quick:], QUEUED)
    in_turn(platform.calls("slow")[slow:], 1)


@pytest.mark.usefixtures("two_daemons")
def test_two_daemons_start_each_run_once(platform: Platform) -> None:
    quick = len(platform.calls("quick"))
    queued = [platform.launch("trials", "run_quick") for _ in range(QUEUED)]
    kill_daemon(platform)
    queued += [platform.launch("trials", "run_quick") for _ in range(QUEUED)]
    for run_id in queued:
        platform.ends(run_id, "SUCCESS")
    once(platform, *queued)
    in_turn(platform.calls("quick")[quick:], 2 * QUEUED)


def test_runs_bear_that_their_database_is_restarted(platform: Platform) -> None:
    quick, slow = len(platform.calls("quick")), len(platform.calls("slow"))
    running = platform.launch("trials", "run_slow")
    platform.asked("slow", slow + 1)
    queued = platform.launch("trials", "run_quick")
    before = restarts(platform, "postgres")
    # at once, as after a crash: it does not wait for its clients, and recovers what it had
    with contextlib.suppress(Refused):  # the command may end with its container
        platform.namespace.ask("exec", "deployment/postgres", "--", "python3", "-c", END, str(AWAY_SECONDS))
    platform.until(lambda: restarts(platform, "postgres") > before, 60, "the database was restarted")
    platform.until(
        lambda: answers(platform, running), AWAY_SECONDS + 90, "the web server has its database again"
    )
    for run_id in (running, queued):
        platform.ends(run_id, "SUCCESS")
    once(platform, running, queued)
    in_turn(platform.calls("quick")[quick:], 1)
    in_turn(platform.calls("slow")[slow:], 1)


@pytest.mark.parametrize("seconds", [900, -900], ids=["ahead", "behind"])
def test_clocks_that_differ_by_a_quarter_of_an_hour_harm_no_run(platform: Platform, seconds: int) -> None:
    quick = len(platform.calls("quick"))
    with skewed(platform.namespace, seconds, "gateway", "daemon"):
        run_id = platform.launch("trials", "run_quick")
        run = platform.ends(run_id, "SUCCESS")
    once(platform, run_id)
    in_turn(platform.calls("quick")[quick:], 1)
    told_by_daemon = run.when("Creating Kubernetes run worker job")
    told_by_run = run.when("Started process for run")
    assert abs(told_by_daemon - told_by_run - seconds) < 120, "the daemon's clock was not changed"


def answers(platform: Platform, run_id: str) -> bool:
    """Return whether the web server tells of a run: without its database it says that it does not know."""
    try:
        return bool(platform.run(run_id).events)
    except (AssertionError, Refused):
        return False


def restarts(platform: Platform, name: str) -> int:
    """Return how often the container of a deployment was started again."""
    listed = platform.namespace.ask("get", "pods", f"--selector=app={name}", "--output=json")
    statuses = [
        one for pod in json.loads(listed)["items"] for one in pod["status"].get("containerStatuses", ())
    ]
    return sum(one["restartCount"] for one in statuses)
