"""Namespaces of tests."""

import contextlib
import json
import secrets
from collections.abc import Generator

from tests.e2e.kubectl import Namespace, kubectl


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
    name = f"e2e-{secrets.token_hex(4)}"
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    metadata = {"name": name, "labels": labels}
    text = json.dumps({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})
    kubectl("create", "--filename=-", text=text)
    return Namespace(name)
