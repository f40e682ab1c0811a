"""The file of the gateway, as the gateway itself reads it."""

from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import yaml

from orchestrator_gateway.configuration import Configuration, load
from orchestrator_gateway.journal import JournalLimits
from orchestrator_gateway.tenant_settings import TenantSettings
from orchestrator_tools.chart.gateway_values import GatewayConfiguration
from tests.helm.charts import LEAST, TEAMS, merged, render

OF_THE_CHART = {"secret", "journal", "prices"}
"""What values do not say: where things are in the pod."""


def written(values: Any) -> str:
    (configuration,) = render(values).of("gateway-configuration.yaml")
    text: str = configuration["data"]["gateway.yaml"]
    return text


@pytest.mark.parametrize("values", [LEAST, TEAMS])
def test_the_gateway_reads_it(values: Any, tmp_path: Path) -> None:
    file = tmp_path / "gateway.yaml"
    file.write_text(written(values))
    read = load(file)
    assert read.secret.file == "/run/secrets/orchestrator/secret"
    assert read.journal.postgresql is not None and read.journal.postgresql.env == "JOURNAL_URL"
    assert read.journal.limits == JournalLimits()
    assert set(read.upstreams) == set(values["gateway"]["configuration"]["upstreams"])


def test_what_an_operator_says_is_what_the_gateway_gets(tmp_path: Path) -> None:
    file = tmp_path / "gateway.yaml"
    changes = {"gateway": {"configuration": {"limits": {"answer_bytes": 5_000_000}, "log_bodies": True}}}
    file.write_text(written(merged(TEAMS, changes)))
    read = load(file)
    assert read.journal.limits.answer_bytes == 5_000_000 and read.log_bodies
    assert [target.weight for target in read.models["fast"].targets] == [3, 1]
    assert read.budgets[0].cost_usd == 500 and read.telemetry.prometheus == "0.0.0.0:9464"


def test_large_numbers_stay_what_they_are() -> None:
    changes = {"gateway": {"configuration": {"limits": {"answer_bytes": 16_000_000_000}}}}
    limits = yaml.safe_load(written(merged(LEAST, changes)))["journal"]["limits"]
    assert limits["answer_bytes"] == 16_000_000_000


def test_every_setting_of_the_gateway_is_a_value() -> None:
    own = {field.name for field in fields(Configuration)} - OF_THE_CHART
    assert set(GatewayConfiguration.model_fields) == own | {"limits"}


def test_the_journal_is_sealed_by_the_keys_of_tenants(tmp_path: Path) -> None:
    file = tmp_path / "gateway.yaml"
    file.write_text(
        written(merged(TEAMS, {"gateway": {"tenantKeysSecret": {"name": "tenant-keys", "key": "keys.json"}}}))
    )
    keys = load(file).journal.keys
    assert keys is not None and keys.file == "/run/secrets/orchestrator-keys/keys.json"


@pytest.mark.parametrize(("may", "replicas", "each"), [(50, 2, 25), (7, 3, 2), (1, 3, 1), (0, 2, 0)])
def test_what_a_tenant_may_have_at_once_is_shared_among_the_gateways(
    may: int, replicas: int, each: int, tmp_path: Path
) -> None:
    file = tmp_path / "gateway.yaml"
    tenants: dict[str, Any] = {"acme": {"models": ["fast"], "executions": may}, "rival": {"models": []}}
    changes = {"gateway": {"replicas": replicas, "configuration": {"tenants": tenants}}}
    file.write_text(written(merged(TEAMS, changes)))
    read = load(file).tenants
    assert read["acme"] == TenantSettings(models=("fast",), executions=each)
    assert read["rival"] == TenantSettings(models=())
