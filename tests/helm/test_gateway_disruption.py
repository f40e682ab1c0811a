"""A node that is drained takes one gateway at a time."""

from tests.helm.charts import LEAST, render


def test_one_pod_of_the_gateway_may_be_missing() -> None:
    rendered = render(LEAST)
    (budget,) = rendered.of("gateway-disruption.yaml")
    assert budget["spec"]["maxUnavailable"] == 1
    assert budget["spec"]["unhealthyPodEvictionPolicy"] == "AlwaysAllow"
    pods = rendered.get("Deployment", "gateway")["spec"]
    assert budget["spec"]["selector"] == pods["selector"]


def test_a_single_one_does_not_hold_a_node() -> None:
    (budget,) = render(LEAST, {"gateway": {"replicas": 1}}).of("gateway-disruption.yaml")
    assert budget["spec"]["maxUnavailable"] == 1
