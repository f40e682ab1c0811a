"""What is printed after an installation."""

import json
from collections.abc import Mapping
from typing import Any

from orchestrator_tools.chart.files import CHART
from tests.helm.charts import NAMESPACE, RELEASE, TEAMS, TLS, helm, merged


def notes(values: Mapping[str, Any]) -> str:
    said = helm(
        "install",
        RELEASE,
        CHART,
        f"--namespace={NAMESPACE}",
        "--dry-run=client",
        "--values=-",
        text=json.dumps(values),
    )
    return said.partition("NOTES:\n")[2]


def test_they_name_the_addresses_and_the_secrets_that_are_needed() -> None:
    said = notes({**TEAMS, "runs": {"environmentSecrets": ["team-keys"]}})
    assert "http://agents-gateway.platform.svc:8900" in said
    assert "kubectl --namespace platform port-forward service/agents-web 3000:80" in said
    assert "platform: gateway, postgresql, journal, marketplace, model-keys" in said
    assert "agents-acme: gateway, postgresql, team-keys" in said
    assert "rival-agents: gateway, postgresql, team-keys" in said
    assert "Marketplace: http://agents-marketplace.platform.svc:8940" in said
    assert "Certificates" not in said


def test_with_tls_they_name_each_certificate_and_the_names_in_it() -> None:
    said = notes(merged(TEAMS, TLS, {"tls": {"secrets": {"webServer": "web-cert"}}}))
    assert "https://agents-gateway.platform.svc:8900" in said
    assert "port-forward service/agents-web 3000:443" in said and "https://localhost:3000" in said
    assert "platform/gateway-tls: agents-gateway.platform.svc\n" in said
    assert "platform/web-cert: agents-web.platform.svc, and what people call it by\n" in said
    assert "platform/marketplace-tls: agents-marketplace.platform.svc, and what people call it by\n" in said
    assert "platform/postgresql-tls: agents-postgresql.platform.svc\n" in said
    assert "agents-acme/code-servers-tls: agents-code-reviews.agents-acme.svc\n" in said
    assert "rival-agents/code-servers-tls: agents-code-support.rival-agents.svc" in said
