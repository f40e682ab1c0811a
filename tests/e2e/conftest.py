"""A cluster for the whole session, and a namespace of its own for each test."""

import os
import shutil
from collections.abc import Iterator, Mapping

import pytest

from tests.e2e.images import platform_images
from tests.e2e.kubectl import Namespace, kubectl
from tests.e2e.namespaces import restricted_namespace
from tests.e2e.platforms import Platform

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
    """A namespace of one test."""
    with restricted_namespace() as made:
        yield made


@pytest.fixture(scope="session")
def images() -> Mapping[str, str]:
    """The images of a platform, by what they are; built here on the test cluster."""
    return platform_images()


@pytest.fixture(scope="session")
def platform(images: Mapping[str, str]) -> Iterator[Platform]:
    """A whole platform, for all tests of runs."""
    with restricted_namespace() as made:
        yield Platform(made, images)
