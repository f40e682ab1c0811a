"""`orchestrator deploy` on a code server that is a small web server."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from orchestrator_cluster.deploys import CONTAINER, IMAGE_VARIABLE, LOCATION_LABEL
from tests.e2e.kubectl import Namespace
from tests.e2e.pods import SERVE, container, pod

MISSING = "localhost/nobody-made-this:1"
SECONDS = 120


def code_server(image: str) -> dict[str, Any]:
    labels = {LOCATION_LABEL: "team"}
    ready = {"httpGet": {"path": "/", "port": 8080}, "periodSeconds": 1}
    main = container(CONTAINER, image, SERVE, "8080", readinessProbe=ready)
    spec = pod("unused", main, restartPolicy="Always")["spec"]
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "code-team", "labels": labels},
        "spec": {
            "selector": {"matchLabels": labels},
            "strategy": {"rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
            "template": {"metadata": {"labels": labels}, "spec": spec},
        },
    }


def deploy(namespace: Namespace, image: str) -> tuple[int, str]:
    done = subprocess.run(
        [
            Path(sys.executable).with_name("orchestrator"),
            *("deploy", "team", "--image", image, "--namespace", namespace.name),
        ],
        check=False,
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    return done.returncode, done.stdout + done.stderr


def now(namespace: Namespace) -> tuple[dict[str, Any], set[str]]:
    """Return the container of the code server, and the pods that are ready."""
    deployment = namespace.get("deployment", "code-team")
    (main,) = deployment["spec"]["template"]["spec"]["containers"]
    told = namespace.ask(
        "get",
        "pods",
        r"--output=jsonpath={range .items[?(@.status.containerStatuses[0].ready==true)]}{.metadata.name} {end}",
    )
    return main, set(told.split())


@pytest.fixture
def team(namespace: Namespace, image: str) -> Namespace:
    """A code server whose image is missing is deployed a good one, and serves."""
    namespace.create(code_server(MISSING))
    status, said = deploy(namespace, image)
    assert status == 0 and f"team: serves {image} after " in said, said
    return namespace


@pytest.mark.parametrize(
    ("bad", "why"),
    [(MISSING, "cannot start (ImagePullBackOff)"), ("Not An Image", "cannot start (InvalidImageName)")],
)
def test_the_code_server_stays_where_the_new_one_does_not_serve(
    team: Namespace, image: str, bad: str, why: str
) -> None:
    main, before = now(team)
    assert main["image"] == image and len(before) == 1
    assert main["env"] == [{"name": IMAGE_VARIABLE, "value": image}]
    status, said = deploy(team, bad)
    assert status == 1 and why in said and f"the location has {image}" in said, said
    team.wait("deployment/code-team", "condition=Available")
    main, after = now(team)
    assert main["image"] == image and after == before, "the old one has served all the time"


def test_a_location_that_is_not_there_is_said(namespace: Namespace, image: str) -> None:
    status, said = deploy(namespace, image)
    assert status == 1 and "must have one code server, and has it in the namespaces: none" in said
