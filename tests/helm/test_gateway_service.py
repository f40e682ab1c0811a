"""The address of the gateway."""

from tests.helm.charts import TEAMS, render


def test_it_leads_to_the_pods_of_the_gateway() -> None:
    rendered = render(TEAMS)
    (service,) = rendered.of("gateway-service.yaml")
    pods = rendered.get("Deployment", "gateway")["spec"]["template"]
    assert service["spec"]["selector"].items() <= pods["metadata"]["labels"].items()
    (port,) = service["spec"]["ports"]
    ports = {one["name"]: one["containerPort"] for one in pods["spec"]["containers"][0]["ports"]}
    assert port["port"] == ports[port["targetPort"]] == 8_900


def test_no_other_pods_have_its_labels() -> None:
    rendered = render(TEAMS)
    (service,) = rendered.of("gateway-service.yaml")
    found = [
        one["metadata"]["name"]
        for one in rendered.manifests
        if one["kind"] in ("Deployment", "StatefulSet")
        and service["spec"]["selector"].items() <= one["spec"]["template"]["metadata"]["labels"].items()
    ]
    assert found == ["agents-gateway"]


def test_runs_are_told_it() -> None:
    rendered = render(TEAMS)
    (service,) = rendered.of("gateway-service.yaml")
    address = f"http://{service['metadata']['name']}.{service['metadata']['namespace']}.svc:8900"
    variable = {"name": "ORCHESTRATOR_GATEWAY_URL", "value": address}
    for code_server in rendered.of("code-server-deployment.yaml"):
        assert variable in code_server["spec"]["template"]["spec"]["containers"][0]["env"]
