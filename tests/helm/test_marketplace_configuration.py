"""The file of the reference marketplace, and the keys beside it."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from orchestrator_marketplace.marketplace_service import ServiceSettings
from orchestrator_marketplace.strict_yaml import read_yaml
from tests.helm.charts import TEAMS, Refused, render

KEY = "-----BEGIN PUBLIC KEY-----\nMIIC\n-----END PUBLIC KEY-----\n"


def files(*more: dict[str, Any]) -> dict[str, str]:
    (found,) = render(TEAMS, *more).of("marketplace-configuration.yaml")
    data: dict[str, str] = found["data"]
    return data


def test_the_file_says_what_the_values_say_and_names_files_that_are_there() -> None:
    found = files({"marketplace": {"operators": {"second": KEY}, "advisoriesClaim": "osv"}})
    said = yaml.safe_load(found["marketplace.yaml"])
    assert said["name"] == "market.example" and said["registries"] == ["registry.example/agents"]
    assert said["operators"] == ["platform.pub", "second.pub"] and found["second.pub"] == KEY
    assert said["advisories"] == "/var/lib/advisories"
    assert "advisories" not in yaml.safe_load(files()["marketplace.yaml"])


def test_a_service_takes_the_file(tmp_path: Path) -> None:
    more = {
        "limits": {"open_submissions": 3, "events_days": 90},
        "webhooks": {"hosts": ["hooks.internal"]},
        "bus_events": 500,
    }
    for name, text in files({"marketplace": {"configuration": more}}).items():
        (tmp_path / name).write_text(text)
    said = read_yaml(ServiceSettings, tmp_path / "marketplace.yaml")
    assert (said.limits.open_submissions, said.limits.events_days, said.bus_events) == (3, 90, 500)
    assert said.webhooks.hosts == ("hooks.internal",) and said.database is None
    assert all((tmp_path / key).is_file() for key in said.operators)


def test_another_file_starts_its_pods_anew() -> None:
    def template(*more: dict[str, Any]) -> Any:
        (found,) = render(TEAMS, *more).of("marketplace-deployment.yaml")
        return found["spec"]["template"]

    assert template() != template({"marketplace": {"operators": {"second": KEY}}})
    assert template() == template({"gateway": {"replicas": 5}})


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"operators": {"a": "MIIC"}}, "/marketplace/operators/a': 'MIIC' does not match"),
        ({"operators": {"A b": KEY}}, "/marketplace/operators"),
        ({"configuration": {"registries": []}}, "/marketplace/configuration/registries': minItems"),
        ({"configuration": {"database": "a.db"}}, "additional properties 'database'"),
        ({"databaseUrlSecret": {"value": "postgresql://"}}, "additional properties 'value'"),
    ],
)
def test_what_would_not_serve_is_refused_with_its_place(changes: dict[str, Any], why: str) -> None:
    with pytest.raises(Refused, match=r"(?s).*") as caught:
        render(TEAMS, {"marketplace": changes})
    assert why in str(caught.value)
