"""The pods of the reference marketplace."""

from typing import Any

from tests.helm.charts import LEAST, TEAMS, TLS, merged, render


def pod(*more: dict[str, Any]) -> Any:
    (found,) = render(merged(TEAMS, *more)).of("marketplace-deployment.yaml")
    return found["spec"]["template"]["spec"]


def container(*more: dict[str, Any]) -> Any:
    (found,) = pod(*more)["containers"]
    return found


def environment(*more: dict[str, Any]) -> dict[str, Any]:
    return {one["name"]: one.get("value", one.get("valueFrom")) for one in container(*more)["env"]}


def test_who_asks_for_none_has_none() -> None:
    rendered = render(LEAST)
    for kind in ("deployment", "configuration", "service"):
        assert rendered.of(f"marketplace-{kind}.yaml") == []
    assert not [one for one in rendered.manifests if "marketplace" in one["metadata"]["name"]]


def test_it_serves_what_its_file_says_from_a_database_of_its_own() -> None:
    found = container()
    assert found["command"][:3] == ["orchestrator", "marketplace", "serve"]
    assert "--config=/etc/orchestrator-marketplace/marketplace.yaml" in found["command"]
    assert environment() == {
        "ORCHESTRATOR_MARKETPLACE_DATABASE": {"secretKeyRef": {"name": "marketplace", "key": "url"}}
    }
    bus = {"marketplace": {"busUrlSecret": {"name": "bus", "key": "url"}}}
    assert environment(bus)["ORCHESTRATOR_MARKETPLACE_BUS"] == {"secretKeyRef": {"name": "bus", "key": "url"}}
    assert "envFrom" not in found, "strangers talk to it: it has no secret of another component"
    assert container({"marketplace": {"environmentSecrets": ["more"]}})["envFrom"] == [
        {"secretRef": {"name": "more"}}
    ]


def test_requests_come_to_pods_that_have_a_database() -> None:
    found = container()
    assert found["readinessProbe"]["httpGet"]["path"] == "/v1/events?limit=1"
    assert "livenessProbe" not in found, "a database that is away kills no pod"


def test_it_may_do_nothing_in_the_cluster() -> None:
    found = pod()
    assert found["serviceAccountName"] == "agents-marketplace"
    assert found["automountServiceAccountToken"] is False
    bound = [one for one in render(TEAMS).manifests if one["kind"] in ("RoleBinding", "ClusterRoleBinding")]
    assert all(
        subject["name"] != "agents-marketplace" for one in bound for subject in one.get("subjects", [])
    )


def test_a_mirror_of_advisories_is_read_from_a_volume() -> None:
    assert "advisories" not in {volume["name"] for volume in pod()["volumes"]}
    found = pod({"marketplace": {"advisoriesClaim": "osv"}})
    volumes = {volume["name"]: volume for volume in found["volumes"]}
    assert volumes["advisories"]["persistentVolumeClaim"] == {"claimName": "osv", "readOnly": True}
    (mount,) = [one for one in found["containers"][0]["volumeMounts"] if one["name"] == "advisories"]
    assert mount["mountPath"] == "/var/lib/advisories" and mount["readOnly"]


def test_pods_are_where_the_operator_wants_them() -> None:
    chosen = {
        "replicas": 3,
        "nodeSelector": {"pool": "platform"},
        "tolerations": [{"key": "platform"}],
        "priorityClass": "low",
        "resources": {"cpu": "2", "memory": "3Gi"},
    }
    (found,) = render(merged(TEAMS, {"marketplace": chosen})).of("marketplace-deployment.yaml")
    assert found["spec"]["replicas"] == 3
    made = found["spec"]["template"]["spec"]
    assert made["nodeSelector"] == {"pool": "platform"} and made["priorityClassName"] == "low"
    assert made["tolerations"] == [{"key": "platform", "operator": "Exists"}]
    assert made["containers"][0]["resources"]["limits"] == {"memory": "3Gi"}


def test_with_tls_it_shows_a_certificate_and_verifies_its_database() -> None:
    found = pod(TLS, {"tls": {"secrets": {"marketplace": "own"}}})
    (main,) = found["containers"]
    folder = "/run/secrets/orchestrator-tls"
    assert {f"--tls-certificate={folder}/tls.crt", f"--tls-key={folder}/tls.key"} <= set(main["command"])
    volumes = {volume["name"]: volume for volume in found["volumes"]}
    assert volumes["certificate"]["secret"] == {"secretName": "own", "defaultMode": 0o440}
    for probe in ("startupProbe", "readinessProbe"):
        assert main[probe]["httpGet"]["scheme"] == "HTTPS"
        assert "scheme" not in container()[probe]["httpGet"]
    assert environment(TLS)["PGSSLMODE"] == "verify-full"
