"""Service accounts."""

from tests.helm.charts import LEAST, TEAMS, render


def test_components_and_tenants_have_their_own() -> None:
    found = {
        (one["metadata"]["namespace"], one["metadata"]["name"]) for one in render(TEAMS).of("accounts.yaml")
    }
    assert found == {
        ("platform", "agents-gateway"),
        ("platform", "agents-dagster"),
        ("platform", "agents-marketplace"),
        ("platform", "agents-postgresql"),
        ("agents-acme", "agents-runs"),
        ("rival-agents", "agents-runs"),
    }
    assert len(render(LEAST).of("accounts.yaml")) == 2


def test_the_account_of_runs_may_do_nothing() -> None:
    bindings = [one for one in render(TEAMS).manifests if one["kind"] == "RoleBinding"]
    assert len(bindings) == 3
    for binding in bindings:
        assert "agents-runs" not in [subject["name"] for subject in binding["subjects"]]
