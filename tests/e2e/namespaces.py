"""Namespaces of tests."""

import contextlib
import json
import secrets
from collections.abc import Generator
from typing import Final

from tests.e2e.kubectl import Namespace, kubectl

PRIORITY: Final = "e2e-platform"
"""Class of a platform's pods: a full node ends those of runs first."""


def keep_from_eviction() -> None:
    """Have the class of a platform's pods on the cluster."""
    made = {
        "apiVersion": "scheduling.k8s.io/v1",
        "kind": "PriorityClass",
        "metadata": {"name": PRIORITY},
        "value": 1_000,
        "preemptionPolicy": "Never",
    }
    kubectl("apply", "--filename=-", text=json.dumps(made))


@contextlib.contextmanager
def restricted_namespace() -> Generator[Namespace]:
    """Have a namespace that enforces Pod Security `restricted`; all in it goes at the end of the block."""
    namespace = make_restricted()
    try:
        # a pod is refused until the controllers have made its account
        namespace.wait("serviceaccount/default", "create")
        yield namespace
    finally:
        kubectl("delete", "namespace", namespace.name, "--wait=false")


def make_restricted() -> Namespace:
    """Make such a namespace, which whoever calls this removes."""
    keep_from_eviction()
    name = f"e2e-{secrets.token_hex(4)}"
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    metadata = {"name": name, "labels": labels}
    text = json.dumps({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})
    kubectl("create", "--filename=-", text=text)
    return Namespace(name)
