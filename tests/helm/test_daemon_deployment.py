"""Dagster's daemon."""

from typing import Any

from tests.helm.charts import ONE_TEAM, TEAMS, TLS, render


def deployment(*more: dict[str, Any]) -> Any:
    (found,) = render(TEAMS, *more).of("daemon-deployment.yaml")
    return found["spec"]


def test_there_is_never_a_second_one() -> None:
    found = deployment()
    assert found["replicas"] == 1 and found["strategy"] == {"type": "Recreate"}


def test_one_that_is_there_all_the_same_waits() -> None:
    main, _ = deployment(ONE_TEAM)["template"]["spec"]["containers"]
    assert main["command"][:4] == ["python", "-m", "orchestrator_cluster.one_daemon", "run"]


def test_that_of_many_teams_knows_them() -> None:
    main, watch = deployment()["template"]["spec"]["containers"]
    assert main["command"] == ["orchestrator", "daemon", "--workspace=/etc/orchestrator/workspace.yaml"]
    control = {"secretKeyRef": {"name": "control", "key": "url"}}
    marketplace = "http://agents-marketplace.platform.svc:8940"
    assert [one for one in main["env"] if one not in watch["env"]] == [
        {"name": "ORCHESTRATOR_CONTROL_URL", "valueFrom": control},
        {"name": "ORCHESTRATOR_MARKETPLACES", "value": marketplace},
    ]


def test_it_follows_a_marketplace_that_it_can_verify_and_none_where_there_is_none() -> None:
    def told(*more: dict[str, Any]) -> dict[str, Any]:
        main, _ = deployment(*more)["template"]["spec"]["containers"]
        return {one["name"]: one.get("value") for one in main["env"] if "MARKETPLACE" in one["name"]}

    assert told({"marketplace": None}) == {}
    assert told(TLS) == {
        "ORCHESTRATOR_MARKETPLACES": "https://agents-marketplace.platform.svc:8940",
        "ORCHESTRATOR_MARKETPLACE_CA_FILE": "/etc/orchestrator-ca/ca.crt",
    }


def test_it_has_the_instance_and_the_workspace() -> None:
    pod = deployment()["template"]["spec"]
    main, watch = pod["containers"]
    mounts = {mount["mountPath"]: mount for mount in main["volumeMounts"]}
    home = {one["name"]: one.get("value") for one in main["env"]}["DAGSTER_HOME"]
    assert mounts[f"{home}/dagster.yaml"]["subPath"] == "dagster.yaml"
    assert "--workspace=/etc/orchestrator/workspace.yaml" in main["command"]
    assert mounts["/etc/orchestrator"]["name"] == mounts[f"{home}/dagster.yaml"]["name"] == "instance"
    assert {"name": "instance", "configMap": {"name": "agents-instance"}} in pod["volumes"]
    assert mounts[home]["name"] == "home" and mounts["/tmp"]["name"] == "scratch"
    assert all(one in main["env"] for one in watch["env"])
    assert {mount["mountPath"] for mount in watch["volumeMounts"]} == mounts.keys() - {"/etc/orchestrator"}


def test_a_changed_instance_starts_it_anew() -> None:
    def annotations(*more: dict[str, Any]) -> Any:
        return deployment(*more)["template"]["metadata"]["annotations"]

    assert annotations() == annotations({"gateway": {"replicas": 7}})
    assert annotations() != annotations(
        {"locations": {"reviews": {"image": "registry.example/acme-reviews:8"}}}
    )
    assert annotations() != annotations({"runs": {"maxConcurrent": 7}})


def test_one_that_hangs_is_started_anew() -> None:
    main, _ = deployment()["template"]["spec"]["containers"]
    assert main["livenessProbe"]["exec"]["command"] == ["dagster-daemon", "liveness-check"]


def test_a_watch_beside_it_ends_runs_whose_pods_are_lost() -> None:
    _, watch = deployment({"daemon": {"watch": {"memory": "1Gi"}}})["template"]["spec"]["containers"]
    assert watch["command"] == ["python", "-m", "orchestrator_cluster.run_watch"]
    assert watch["resources"]["limits"] == {"memory": "1Gi"}


def test_it_has_the_image_that_was_asked_for() -> None:
    containers = deployment({"daemon": {"image": "other:1"}})["template"]["spec"]["containers"]
    assert {container["image"] for container in containers} == {"other:1"}
