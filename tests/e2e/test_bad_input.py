"""Runs that cannot begin or go on, for what somebody wrote or forgot: the reason is in the run's log within seconds."""

import contextlib
import json
from collections.abc import Generator, Mapping
from typing import Any

import pytest

from tests.e2e.kubectl import Namespace
from tests.e2e.platform_objects import secret
from tests.e2e.platforms import Platform
from tests.e2e.run_checks import gone, once

pytestmark = pytest.mark.timeout(900)

TOLD_SECONDS = 60.0
"""From the launch to the reason, on a machine of two busy cores; idle, ten are usual."""


@pytest.mark.parametrize(
    ("location", "why", "named"),
    [
        (
            "unpullable",
            "the container 'guests-0-langgraph' cannot start (ImagePullBackOff)",
            "localhost/not-there:1",
        ),
        ("not_pulled", "the container 'dagster' cannot start (ImagePullBackOff)", "localhost/not-there:2"),
        ("no_guests", "the container 'guests-0-langgraph' ended with status", "langgraph"),
        ("no_dagster", "the container 'dagster' ", "dagster"),
        (
            "starved",
            "the container 'guests-0-langgraph' was ended for its memory (OOMKilled)",
            "it may have 8Mi",
        ),
    ],
)
def test_an_image_that_is_not_there_or_not_the_right_one_ends_the_run(
    platform: Platform, location: str, why: str, named: str
) -> None:
    run_id = platform.launch(location, "run_quick")
    run = platform.ends(run_id, "FAILURE", TOLD_SECONDS * 2)
    said = run.saying("The run cannot go on: ")
    assert why in said and named in said, said
    gone(platform, run_id)


def test_a_secret_that_is_missing_ends_the_run_and_is_named(platform: Platform) -> None:
    with without_secret(platform.namespace, "run-environment"):
        run_id = platform.launch("trials", "run_quick")
        run = platform.ends(run_id, "FAILURE", TOLD_SECONDS * 2)
    said = run.saying("The run cannot go on: ")
    assert "'dagster' cannot start (CreateContainerConfigError)" in said
    assert 'secret "run-environment" not found' in said
    gone(platform, run_id)


def test_a_pool_of_nodes_that_is_not_there_is_named_while_the_run_waits(platform: Platform) -> None:
    run_id = platform.launch("nowhere", "run_quick")
    platform.says(
        run_id,
        "the pod waits for a node that has room for it and the labels pool=not-there: 0/",
        TOLD_SECONDS,
    )
    platform.terminate(run_id, force=True)
    platform.ends(run_id, "CANCELED", 30)
    gone(platform, run_id)


def test_a_quota_of_nothing_is_named_and_the_run_goes_on_when_there_is_one(platform: Platform) -> None:
    before = len(platform.calls("quick"))
    with quota(platform.namespace, {"pods": "0"}):
        run_id = platform.launch("trials", "run_quick")
        words = (
            "the cluster makes no pod for the run: Error creating: pods is forbidden: exceeded quota: nothing"
        )
        platform.says(run_id, words, TOLD_SECONDS)
    platform.ends(run_id, "SUCCESS")
    once(platform, run_id)
    assert platform.calls("quick")[before:] == [1, 2]


def test_a_guest_that_fills_its_disk_ends_the_run_and_no_other(platform: Platform) -> None:
    run_id = platform.launch("trials", "run_filling")
    platform.ends(run_id, "FAILURE", TOLD_SECONDS * 3)
    # where the run was faster to say that it was interrupted, the reason follows
    words = "the pod was ended by the cluster (Evicted)"
    said = platform.says(run_id, words, TOLD_SECONDS).saying(words)
    assert 'exceeds the limit "1Gi"' in said, said
    platform.ends(platform.launch("trials", "run_quick"), "SUCCESS")


@contextlib.contextmanager
def without_secret(namespace: Namespace, name: str) -> Generator[None]:
    """Take a secret away for the time of a block; what has it already keeps it."""
    kept = namespace.get("secret", name)
    namespace.ask("delete", "secret", name)
    try:
        yield
    finally:
        whole = secret(name, {}) | {"data": kept["data"]}
        namespace.create({key: value for key, value in whole.items() if key != "stringData"})


@contextlib.contextmanager
def quota(namespace: Namespace, hard: Mapping[str, str]) -> Generator[None]:
    """Have a quota for the time of a block, from when it counts."""
    made: dict[str, Any] = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "nothing"}}
    namespace.ask("create", "--filename=-", text=json.dumps(made | {"spec": {"hard": dict(hard)}}))
    try:
        namespace.wait("resourcequota/nothing", "jsonpath={.status.hard}")
        yield
    finally:
        namespace.ask("delete", "resourcequota", "nothing")
