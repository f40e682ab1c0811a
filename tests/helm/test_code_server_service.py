"""The addresses of code servers."""

import yaml

from tests.helm.charts import TEAMS, render


def test_each_leads_to_the_code_server_of_its_location_alone() -> None:
    rendered = render(TEAMS)
    pods = {
        one["metadata"]["name"]: one["spec"]["template"]["metadata"]["labels"]
        for one in rendered.of("code-server-deployment.yaml")
    }
    for service in rendered.of("code-server-service.yaml"):
        selector = service["spec"]["selector"].items()
        assert [name for name, labels in pods.items() if selector <= labels.items()] == [
            service["metadata"]["name"]
        ]


def test_the_workspace_names_them() -> None:
    rendered = render(TEAMS)
    services = {
        f"{one['metadata']['name']}.{one['metadata']['namespace']}.svc": one["spec"]["ports"][0]["port"]
        for one in rendered.of("code-server-service.yaml")
    }
    workspace = yaml.safe_load(rendered.get("ConfigMap", "instance")["data"]["workspace.yaml"])
    servers = [one["grpc_server"] for one in workspace["load_from"]]
    assert {one["host"]: one["port"] for one in servers} == services
    assert [one["location_name"] for one in servers] == ["reviews", "support"]
