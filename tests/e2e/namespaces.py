"""Namespaces of tests."""

import contextlib
import json
import secrets
from collections.abc import Generator

from tests.e2e.kubectl import Namespace, kubectl


@contextlib.contextmanager
def restricted_namespace() -> Generator[Namespace]:
    """Have a namespace that enforces Pod Security `restricted`; all in it goes at the end of the block."""
    name = f"e2e-{secrets.token_hex(4)}"
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    metadata = {"name": name, "labels": labels}
    text = json.dumps({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})
    kubectl("create", "--filename=-", text=text)
    try:
        # a pod is refused until the controllers have made its account
        Namespace(name).wait("serviceaccount/default", "create")
        yield Namespace(name)
    finally:
        kubectl("delete", "namespace", name, "--wait=false")
