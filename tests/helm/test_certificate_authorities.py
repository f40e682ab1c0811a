"""What pods verify each other by."""

from typing import Any

import pytest

from orchestrator_cluster.pods import CA
from tests.helm.charts import TEAMS, TLS, Refused, render

PEM = TLS["tls"]["ca"]


def test_every_namespace_has_the_authorities_and_there_are_none_without_tls() -> None:
    made = {
        one["metadata"]["namespace"]: one for one in render(TEAMS, TLS).of("certificate-authorities.yaml")
    }
    assert made.keys() == {"platform", "agents-acme", "rival-agents"}
    for one in made.values():
        assert one["metadata"]["name"] == "agents-ca" and one["data"] == {"ca.crt": PEM}
    assert render(TEAMS).of("certificate-authorities.yaml") == []


def test_every_pod_that_calls_another_has_them_where_it_is_told() -> None:
    for one in render(TEAMS, TLS).manifests:
        if one["kind"] != "Deployment":
            continue
        pod = one["spec"]["template"]["spec"]
        assert {"name": "ca", "configMap": {"name": "agents-ca"}} in pod["volumes"]
        for container in pod["containers"]:
            mounted = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
            assert mounted["ca"] == CA
            found = {variable["name"]: variable.get("value") for variable in container["env"]}
            assert found["PGSSLMODE"] == "verify-full" and found["PGSSLROOTCERT"] == f"{CA}/ca.crt"


def test_other_ones_start_all_of_these_anew() -> None:
    other = {"tls": {"ca": f"{PEM}{PEM}"}}
    before, after = (
        {
            (one["kind"], one["metadata"]["name"]): one["spec"]["template"]["metadata"]
            for one in render(TEAMS, values).manifests
            if one["kind"] == "Deployment"
        }
        for values in (TLS, other)
    )
    assert before.keys() == after.keys() and all(before[name] != after[name] for name in before)


@pytest.mark.parametrize(
    "wrong", [{"ca": "ca.crt"}, {"ca": PEM, "secret": "one"}, {"secrets": {"gateway": "one"}}]
)
def test_what_is_none_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(Refused, match="at '/tls"):
        render(TEAMS, {"tls": wrong})
