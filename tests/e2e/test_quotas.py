"""GPUs are counted and bounded by namespace; here they are numbers that a node claims to have."""

import json
from collections.abc import Iterator

import pytest

from tests.e2e.kubectl import Namespace, Refused, kubectl
from tests.e2e.pods import container, pod

GPU = "nvidia.com/gpu"
PATH = "/status/capacity/nvidia.com~1gpu"


@pytest.fixture
def gpus() -> Iterator[None]:
    """Some node has two GPUs, if only by its own word."""
    nodes = json.loads(kubectl("get", "nodes", "--output=json"))["items"]
    if any(GPU in node["status"]["capacity"] for node in nodes):
        yield
        return
    patch = ("patch", "node", nodes[0]["metadata"]["name"], "--subresource=status", "--type=json")
    kubectl(*patch, "--patch", json.dumps([{"op": "add", "path": PATH, "value": "2"}]))
    yield
    kubectl(*patch, "--patch", json.dumps([{"op": "remove", "path": PATH}]))


@pytest.mark.usefixtures("gpus")
def test_a_quota_of_gpus_is_kept_and_named(namespace: Namespace, image: str) -> None:
    namespace.create(
        {
            "apiVersion": "v1",
            "kind": "ResourceQuota",
            "metadata": {"name": "gpus"},
            "spec": {"hard": {f"requests.{GPU}": "1"}},
        }
    )
    namespace.wait("resourcequota/gpus", r"jsonpath={.status.hard.requests\.nvidia\.com/gpu}=1")
    main = container("main", image, "import signal; signal.pause()", resources={"limits": {GPU: "1"}})
    namespace.create(pod("first", main))
    namespace.wait("pod/first", "condition=Ready")
    reason = rf"exceeded quota: gpus, requested: requests\.{GPU}=1, used: .*=1, limited: .*=1"
    with pytest.raises(Refused, match=reason):
        namespace.create(pod("second", main))
