"""The pods of the gateway."""

from typing import Any

from tests.helm.charts import LEAST, TEAMS, TLS, merged, render


def deployment(*more: dict[str, Any]) -> Any:
    (found,) = render(merged(LEAST, *more)).of("gateway-deployment.yaml")
    return found["spec"]


def pod(*more: dict[str, Any]) -> Any:
    return deployment(*more)["template"]["spec"]


def container(*more: dict[str, Any]) -> Any:
    (found,) = pod(*more)["containers"]
    return found


def environment(*more: dict[str, Any]) -> dict[str, Any]:
    return {one["name"]: one.get("value", one.get("valueFrom")) for one in container(*more)["env"]}


def test_there_are_two_and_none_is_missing_while_they_are_replaced() -> None:
    found = deployment()
    assert found["replicas"] == 2 and found["strategy"]["rollingUpdate"] == {
        "maxUnavailable": 0,
        "maxSurge": 1,
    }
    (spread,) = found["template"]["spec"]["topologySpreadConstraints"]
    assert spread["topologyKey"] == "kubernetes.io/hostname"
    assert spread["labelSelector"]["matchLabels"] == found["selector"]["matchLabels"]


def test_calls_have_their_time_before_a_pod_is_killed() -> None:
    changes = {"gateway": {"drainSeconds": 300}}
    found = pod(changes)
    pause = found["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert "--drain-seconds=300" in found["containers"][0]["command"]
    assert found["terminationGracePeriodSeconds"] >= 300 + pause + 5


def test_calls_come_to_pods_that_have_a_journal() -> None:
    found = container()
    assert found["readinessProbe"]["httpGet"]["path"] == found["startupProbe"]["httpGet"]["path"] == "/ready"
    assert found["livenessProbe"]["httpGet"]["path"] == "/health", "a database that is away kills no gateway"


def test_the_files_that_it_is_told_of_are_there() -> None:
    found = pod()
    (main,) = found["containers"]
    mounted = {mount["mountPath"]: mount["name"] for mount in main["volumeMounts"]}
    volumes = {volume["name"]: volume for volume in found["volumes"]}
    assert "--config=/etc/orchestrator/gateway.yaml" in main["command"]
    assert volumes[mounted["/etc/orchestrator"]]["configMap"] == {"name": "agents-gateway"}
    secret = volumes[mounted["/run/secrets/orchestrator"]]["secret"]
    assert secret["secretName"] == "gateway" and secret["items"] == [{"key": "secret", "path": "secret"}]
    assert secret["defaultMode"] == 0o440
    assert all("subPath" not in mount for mount in main["volumeMounts"]), "such files do not change"


def test_the_journal_is_in_the_database() -> None:
    found = environment()
    assert (
        found["JOURNAL_URL"]
        == "postgresql://orchestrator@postgresql.example:5432/orchestrator?sslmode=require"
    )
    assert found["PGPASSWORD"] == {"secretKeyRef": {"name": "postgresql", "key": "password"}}


def test_or_in_one_of_its_own_whose_password_nobody_else_has() -> None:
    found = environment({"postgresql": {"journalUrlSecret": {"name": "journal", "key": "url"}}})
    assert found == {"JOURNAL_URL": {"secretKeyRef": {"name": "journal", "key": "url"}}}


def test_keys_of_models_are_variables_of_it_alone() -> None:
    assert "envFrom" not in container()
    changes = {"gateway": {"environmentSecrets": ["keys"]}}
    assert container(changes)["envFrom"] == [{"secretRef": {"name": "keys"}}]
    for one in render(merged(TEAMS, changes)).manifests:
        if one["kind"] == "Deployment" and one["metadata"]["name"] != "agents-gateway":
            (main, *_) = one["spec"]["template"]["spec"]["containers"]
            assert {"secretRef": {"name": "keys"}} not in main.get("envFrom", [])


def test_what_changes_while_it_serves_starts_no_pod_anew() -> None:
    def template(configuration: dict[str, Any]) -> Any:
        return deployment({"gateway": {"configuration": configuration}})["template"]

    assert template({"log_bodies": True}) == template({})
    assert template({"telemetry": {"otlp_endpoint": "http://collector:4318"}}) != template({})
    assert template({"limits": {"lease_seconds": 20}}) != template({})


def test_metrics_have_a_port_where_they_are_asked_for() -> None:
    assert [port["name"] for port in container()["ports"]] == ["http"]
    changes = {"gateway": {"configuration": {"telemetry": {"prometheus": "0.0.0.0:9464"}}}}
    assert {"name": "metrics", "containerPort": 9_464} in container(changes)["ports"]


def test_pods_are_where_the_operator_wants_them() -> None:
    changes = {
        "gateway": {
            "nodeSelector": {"pool": "platform"},
            "tolerations": [{"key": "platform"}, {"key": "a", "operator": "Equal", "value": "b"}],
            "priorityClass": "high",
            "resources": {"cpu": "2", "memory": "3Gi"},
        }
    }
    found = pod(changes)
    assert found["nodeSelector"] == {"pool": "platform"} and found["priorityClassName"] == "high"
    assert found["tolerations"] == [
        {"key": "platform", "operator": "Exists"},
        {"key": "a", "operator": "Equal", "value": "b"},
    ]
    assert found["containers"][0]["resources"] == {
        "requests": {"cpu": "2", "memory": "3Gi"},
        "limits": {"memory": "3Gi"},
    }


def test_keys_of_tenants_are_a_file_that_the_configuration_names() -> None:
    entry = {"name": "tenant-keys", "key": "keys.json"}
    found = pod({"gateway": {"tenantKeysSecret": entry}})
    (main,) = found["containers"]
    mounted = {mount["mountPath"]: mount["name"] for mount in main["volumeMounts"]}
    volumes = {volume["name"]: volume for volume in found["volumes"]}
    secret = volumes[mounted["/run/secrets/orchestrator-keys"]]["secret"]
    assert secret["secretName"] == "tenant-keys" and secret["items"] == [
        {"key": "keys.json", "path": "keys.json"}
    ]
    assert secret["defaultMode"] == 0o440
    assert "tenant-keys" not in {volume["name"] for volume in pod()["volumes"]}


def test_with_tls_it_shows_a_certificate_and_says_nothing_in_the_clear() -> None:
    found = pod(TLS, {"tls": {"secrets": {"gateway": "own"}}})
    (main,) = found["containers"]
    folder = "/run/secrets/orchestrator-tls"
    assert {f"--tls-certificate={folder}/tls.crt", f"--tls-key={folder}/tls.key"} <= set(main["command"])
    mounted = {mount["mountPath"]: mount["name"] for mount in main["volumeMounts"]}
    volumes = {volume["name"]: volume for volume in found["volumes"]}
    assert volumes[mounted[folder]]["secret"] == {"secretName": "own", "defaultMode": 0o440}
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert main[probe]["httpGet"]["scheme"] == "HTTPS"
        assert "scheme" not in container()[probe]["httpGet"]
    assert environment(TLS)["JOURNAL_URL"] == (
        "postgresql://orchestrator@postgresql.example:5432/orchestrator"
        "?sslmode=verify-full&sslrootcert=/etc/orchestrator-ca/ca.crt"
    )
    own = environment(TLS, {"postgresql": {"journalUrlSecret": {"name": "journal", "key": "url"}}})
    assert own["PGSSLMODE"] == "verify-full" and own["PGSSLROOTCERT"] == "/etc/orchestrator-ca/ca.crt"
