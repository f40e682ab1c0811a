"""The values that the how-to shows are values of the chart."""

import json
import re
from typing import Final

import yaml

from orchestrator_tools.chart.files import CHART
from orchestrator_tools.steps import CHECKOUT
from tests.helm.charts import helm, merged, render

PAGE: Final = (CHECKOUT / "docs" / "how-to" / "install-on-kubernetes.md").read_text()


def test_they_are_rendered() -> None:
    (text,) = re.findall(r"```yaml\n# values\.yaml\n(.*?)```", PAGE, re.DOTALL)
    rendered = render(yaml.safe_load(text))
    assert rendered.get("Deployment", "code-reviews", "acme-agents")["spec"]["replicas"] == 1
    assert not [one for one in rendered.manifests if one["kind"] == "Namespace"]


def test_many_teams_besides() -> None:
    (text,) = re.findall(r"```yaml\n# values\.yaml\n(.*?)```", PAGE, re.DOTALL)
    (more,) = re.findall(r"```yaml\n# values\.yaml, besides\n(.*?)```", PAGE, re.DOTALL)
    rendered = render(yaml.safe_load(text), yaml.safe_load(more))
    assert rendered.of("sign-in.yaml")


def test_a_marketplace_besides() -> None:
    (text,) = re.findall(r"```yaml\n# values\.yaml\n(.*?)```", PAGE, re.DOTALL)
    (more,) = re.findall(r"```yaml\n# values\.yaml, with a marketplace\n(.*?)```", PAGE, re.DOTALL)
    rendered = render(yaml.safe_load(text), yaml.safe_load(more))
    assert rendered.get("Deployment", "marketplace")["spec"]["replicas"] == 1


def test_the_secrets_that_it_makes_are_those_that_the_values_name() -> None:
    (text,) = re.findall(r"```yaml\n# values\.yaml\n(.*?)```", PAGE, re.DOTALL)
    values = yaml.safe_load(text)
    made = set(re.findall(r"create secret generic (\S+)(?: --from-file=(\w+)=)?", PAGE))
    assert made == {
        (values["gateway"]["secret"]["name"], values["gateway"]["secret"]["key"]),
        (values["postgresql"]["passwordSecret"]["name"], values["postgresql"]["passwordSecret"]["key"]),
        (values["gateway"]["environmentSecrets"][0], ""),
    }


def test_connections_are_encrypted_by_certificates_of_the_right_names() -> None:
    page = (CHECKOUT / "docs" / "how-to" / "encrypt-connections.md").read_text()
    (text,) = re.findall(r"```yaml\n# values\.yaml\n(.*?)```", PAGE, re.DOTALL)
    (more,) = re.findall(r"```yaml\n# values\.yaml, besides\n(.*?)```", page, re.DOTALL)
    (made,) = re.findall(r"```yaml\n# certificates\.yaml\n(.*?)```", page, re.DOTALL)
    values = merged(yaml.safe_load(text), yaml.safe_load(more))
    said = helm(
        "install",
        "agents",
        CHART,
        "--namespace=agents",
        "--dry-run=client",
        "--values=-",
        text=json.dumps(values),
    )
    notes = said.partition("NOTES:\n")[2]
    for one in yaml.safe_load_all(made):
        named = f"{one['metadata']['namespace']}/{one['spec']['secretName']}: {', '.join(one['spec']['dnsNames'])}"
        assert named in notes
