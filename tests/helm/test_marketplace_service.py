"""The address of the reference marketplace."""

from tests.helm.charts import TEAMS, render


def test_it_leads_to_the_pods_of_the_marketplace() -> None:
    rendered = render(TEAMS)
    (service,) = rendered.of("marketplace-service.yaml")
    pods = rendered.get("Deployment", "marketplace")["spec"]["template"]
    assert service["spec"]["selector"].items() <= pods["metadata"]["labels"].items()
    (port,) = service["spec"]["ports"]
    ports = {one["name"]: one["containerPort"] for one in pods["spec"]["containers"][0]["ports"]}
    assert port["port"] == ports[port["targetPort"]] == 8_940
