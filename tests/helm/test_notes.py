"""What is printed after an installation."""

import json

from orchestrator_tools.chart.files import CHART
from tests.helm.charts import NAMESPACE, RELEASE, TEAMS, helm


def test_they_name_the_addresses_and_the_secrets_that_are_needed() -> None:
    values = json.dumps({**TEAMS, "runs": {"environmentSecrets": ["team-keys"]}})
    said = helm(
        "install",
        RELEASE,
        CHART,
        f"--namespace={NAMESPACE}",
        "--dry-run=client",
        "--values=-",
        text=values,
    )
    notes = said.partition("NOTES:\n")[2]
    assert "http://agents-gateway.platform.svc:8900" in notes
    assert "kubectl --namespace platform port-forward service/agents-web 3000:80" in notes
    assert "platform: gateway, postgresql, journal, model-keys" in notes
    assert "agents-acme: gateway, postgresql, team-keys" in notes
    assert "rival-agents: gateway, postgresql, team-keys" in notes
