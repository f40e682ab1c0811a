"""The objects of the Helm chart, as a real API server judges them."""

import json
from collections.abc import Mapping
from typing import Any

import pytest

from orchestrator_tools.chart.files import CHART
from tests.e2e.kubectl import Namespace, kubectl
from tests.helm.charts import LEAST, RELEASE, TEAMS, helm, merged


@pytest.mark.parametrize("values", [LEAST, TEAMS], ids=["least", "teams"])
def test_the_api_server_takes_every_object_and_warns_of_none(
    values: Mapping[str, Any], namespace: Namespace
) -> None:
    kubectl("label", "namespace", namespace.name, "pod-security.kubernetes.io/warn=restricted")
    own = f"--namespace={namespace.name}"
    places = {name: {"namespace": f"{namespace.name}-{name}"} for name in values.get("tenants", {})}
    text = json.dumps(merged(values, {"tenants": places}))
    said = helm("template", RELEASE, CHART, own, "--values=-", text=text)
    for place in places.values():  # so that all of it fits one namespace, which is there
        said = said.replace(f"namespace: {place['namespace']}", f"namespace: {namespace.name}")
    words = ("--server-side", "--dry-run=server", "--filename=-", "--warnings-as-errors")
    assert "serverside-applied (server dry run)" in kubectl("apply", *words, text=said)
