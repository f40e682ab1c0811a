"""A cluster for the whole session, and a namespace of its own for each test."""

import json
import os
import secrets
import shutil
from collections.abc import Iterator

import pytest

from tests.e2e.kubectl import Namespace, kubectl

PUBLIC_IMAGE = "docker.io/library/python:3.13-slim"


@pytest.fixture(scope="session", autouse=True)
def _cluster() -> None:
    """Fail once and clearly where there is no cluster."""
    assert os.environ.get("KUBECONFIG"), "these tests need a cluster: run `make e2e`, or set KUBECONFIG"
    assert shutil.which("kubectl"), "these tests need kubectl in PATH"
    kubectl("get", "--raw=/readyz")


@pytest.fixture(scope="session")
def image() -> str:
    """An image with Python: the base image on the test cluster, a public one elsewhere."""
    return os.environ.get("E2E_IMAGE") or PUBLIC_IMAGE


@pytest.fixture
def namespace() -> Iterator[Namespace]:
    """A namespace that enforces Pod Security `restricted`; all in it goes with the test."""
    name = f"e2e-{secrets.token_hex(4)}"
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    metadata = {"name": name, "labels": labels}
    kubectl(
        "create",
        "--filename=-",
        text=json.dumps({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}),
    )
    # a pod is refused until the controllers have made its account
    Namespace(name).wait("serviceaccount/default", "create")
    yield Namespace(name)
    kubectl("delete", "namespace", name, "--wait=false")
