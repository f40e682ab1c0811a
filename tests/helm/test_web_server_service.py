"""The address of the web server, inside the cluster only."""

from tests.helm.charts import TEAMS, TLS, render


def test_it_leads_to_the_web_server_and_not_out_of_the_cluster() -> None:
    rendered = render(TEAMS)
    (service,) = rendered.of("web-server-service.yaml")
    pods = rendered.get("Deployment", "web")["spec"]["template"]
    assert service["spec"]["selector"].items() <= pods["metadata"]["labels"].items()
    assert "type" not in service["spec"]
    (port,) = service["spec"]["ports"]
    ports = {one["name"]: one["containerPort"] for one in pods["spec"]["containers"][0]["ports"]}
    assert (port["port"], ports[port["targetPort"]]) == (80, 3_000)


def test_with_tls_it_is_called_as_https_is() -> None:
    (service,) = render(TEAMS, TLS).of("web-server-service.yaml")
    assert service["spec"]["ports"] == [{"name": "https", "port": 443, "targetPort": "http"}]
