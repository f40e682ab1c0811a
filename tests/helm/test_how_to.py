"""The values that the how-to shows are values of the chart."""

import re
from typing import Final

import yaml

from orchestrator_tools.steps import CHECKOUT
from tests.helm.charts import render

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


def test_the_secrets_that_it_makes_are_those_that_the_values_name() -> None:
    (text,) = re.findall(r"```yaml\n# values\.yaml\n(.*?)```", PAGE, re.DOTALL)
    values = yaml.safe_load(text)
    made = set(re.findall(r"create secret generic (\S+)(?: --from-file=(\w+)=)?", PAGE))
    assert made == {
        (values["gateway"]["secret"]["name"], values["gateway"]["secret"]["key"]),
        (values["postgresql"]["passwordSecret"]["name"], values["postgresql"]["passwordSecret"]["key"]),
        (values["gateway"]["environmentSecrets"][0], ""),
    }
