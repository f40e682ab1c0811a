"""Dagster's instance: as Dagster itself reads it, with a real PostgreSQL."""
# dagster-k8s is typed in part:
# pyright: reportUnknownMemberType=false

import ipaddress
import secrets
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import psycopg
import pytest
import yaml
from dagster import DagsterInstance
from dagster_postgres import PostgresRunStorage
from psycopg.conninfo import conninfo_to_dict
from pydantic import BaseModel

from orchestrator_cluster.bindings import GpuType, LocationBinding, SecretEntry, WarmPods, read_bindings
from orchestrator_cluster.run_launcher import AgentRunLauncher
from orchestrator_tenancy.queue.seam_coordinator import FairRunCoordinator
from orchestrator_tools.chart.tenant_values import Gpu, Location
from tests.helm.charts import LEAST, ONE_TEAM, TEAMS, TLS, Refused, merged, render
from tests.integration.postgres_servers import postgres_server

KUBECONFIG = {
    "apiVersion": "v1",
    "kind": "Config",
    "clusters": [{"name": "c", "cluster": {"server": "http://127.0.0.1:9"}}],
    "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
    "users": [{"name": "u", "user": dict[str, str]()}],
    "current-context": "c",
}


def instance(values: Mapping[str, Any], namespace: str = "platform") -> Any:
    return yaml.safe_load(render(values).get("ConfigMap", "instance", namespace)["data"]["dagster.yaml"])


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """Where a PostgreSQL listens that trusts everybody."""
    own = str(ipaddress.ip_address("127.64.0.0") + secrets.randbelow(2**20))
    with postgres_server(own) as server:
        with psycopg.connect(server.url(), autocommit=True) as connection:
            connection.execute("CREATE DATABASE orchestrator")
        yield own


def opened(values: Mapping[str, Any], namespace: str, folder: Path) -> DagsterInstance:
    """Return the instance that pods in a namespace have; its launcher knows an API server that never answers."""
    written = instance(values, namespace)
    if "run_launcher" in written:
        (folder / "kubeconfig").write_text(yaml.safe_dump(KUBECONFIG))
        outside = {"load_incluster_config": False, "kubeconfig_file": str(folder / "kubeconfig")}
        written["run_launcher"]["config"] |= outside
    (folder / "dagster.yaml").write_text(yaml.safe_dump(written))
    return DagsterInstance.from_config(str(folder))


@pytest.fixture
def database(address: str, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.setenv("PGPASSWORD", "anything")
    return {"postgresql": {"own": None, "host": address, "user": "gateway", "sslMode": "disable"}}


def test_dagster_takes_all_of_it(database: dict[str, Any], tmp_path: Path) -> None:
    values = merged(TEAMS, database, {"runs": {"maxSeconds": 7_200, "maxRetries": 2}})
    with opened(values, "platform", tmp_path) as read:
        assert isinstance(read.run_storage, PostgresRunStorage)
        launcher = read.run_launcher
        assert isinstance(launcher, AgentRunLauncher)
        assert launcher.bindings.locations["reviews"].namespace == "agents-acme"
        concurrency = read.get_concurrency_config().run_queue_config
        assert concurrency is not None and concurrency.max_concurrent_runs == 50
        assert concurrency.tag_concurrency_limits == [
            {"key": "dagster/code_location", "value": {"applyLimitPerUniqueValue": True}, "limit": 10}
        ]
        assert read.run_monitoring_enabled and read.run_monitoring_start_timeout_seconds == 600
        assert read.run_monitoring_max_runtime_seconds == 7_200
        assert read.run_retries_enabled and read.run_retries_max_retries == 2
        assert read.telemetry_enabled is False and read.nux_enabled is False
        assert read.get_runs_count() == 0


def test_many_teams_wait_in_a_fair_queue_and_runs_know_none(database: dict[str, Any], tmp_path: Path) -> None:
    values = merged(TEAMS, database)
    with opened(values, "platform", tmp_path) as read:
        coordinator = read.run_coordinator
        assert isinstance(coordinator, FairRunCoordinator)
        assert coordinator.gpus == 8 and coordinator.seconds_between_ticks == 1
    assert instance(values, "agents-acme")["run_coordinator"]["class"] == "QueuedRunCoordinator"
    assert instance(merged(TEAMS, ONE_TEAM))["run_coordinator"]["class"] == "QueuedRunCoordinator"


def test_runs_read_an_instance_that_knows_no_other_tenant(database: dict[str, Any], tmp_path: Path) -> None:
    values = merged(TEAMS, database)
    assert "run_launcher" not in instance(values, "agents-acme")
    with opened(values, "agents-acme", tmp_path) as read:
        assert isinstance(read.run_storage, PostgresRunStorage) and read.get_runs_count() == 0
    theirs = render(values).get("ConfigMap", "instance", "agents-acme")["data"]
    assert "rival" not in str(theirs) and theirs.keys() == {"dagster.yaml"}


def test_the_pods_of_runs(database: dict[str, Any], tmp_path: Path) -> None:
    values = merged(TEAMS, database, {"runs": {"environmentSecrets": ["team-keys"], "keepSeconds": 60}})
    with opened(values, "platform", tmp_path) as read:
        launcher = read.run_launcher
        assert isinstance(launcher, AgentRunLauncher)
        assert launcher.env_secrets == ["team-keys"]
        assert launcher.image_pull_secrets == [{"name": "registry"}]
        assert launcher.dagster_home == "/opt/dagster/home"
        assert launcher.instance_config_map == "agents-instance"
        own: Any = launcher.run_k8s_config
    variables = {one["name"]: one for one in own["container_config"]["env"]}
    assert variables["PGPASSWORD"]["valueFrom"]["secretKeyRef"] == {"name": "postgresql", "key": "password"}
    assert "ORCHESTRATOR_GATEWAY_URL" not in variables, "it is the binding's"
    assert own["job_spec_config"] == {"ttl_seconds_after_finished": 60}


def test_what_a_location_may_have_is_what_its_values_say() -> None:
    bindings = read_bindings(instance(TEAMS)["run_launcher"]["config"]["bindings"])
    reviews, support = bindings.locations["reviews"], bindings.locations["support"]
    assert (reviews.tenant, reviews.namespace, reviews.service_account) == (
        "acme",
        "agents-acme",
        "agents-runs",
    )
    assert reviews.gateway_url == "http://agents-gateway.platform.svc:8900" and reviews.gateway_port == 8_900
    assert reviews.guest.memory == "4Gi" and reviews.max_gpus == 2 and reviews.run.memory == "1Gi"
    assert support.namespace == "rival-agents" and support.node_selector == {"pool": "agents"}
    assert [gpu.memory_mb for gpu in bindings.gpus] == [81_559]
    assert reviews.warm.size == 0
    reviews_changes = {
        "serviceAccount": "cloud",
        "priorityClass": "low",
        "network": "open",
        "warm": {"size": 2},
    }
    changes = {"locations": {"reviews": reviews_changes}}
    changed = read_bindings(instance(merged(TEAMS, changes))["run_launcher"]["config"]["bindings"])
    assert changed.locations["reviews"].service_account == "cloud"
    assert changed.locations["reviews"].priority_class == "low"
    assert changed.locations["reviews"].gateway_port is None
    assert changed.locations["reviews"].warm == WarmPods(size=2, seconds=3_600)


def test_a_team_may_change_its_image_without_the_operator() -> None:
    changes = {"locations": {"reviews": {"repositories": ["registry.example/acme-reviews"]}}}
    binding = read_bindings(instance(merged(TEAMS, changes))["run_launcher"]["config"]["bindings"]).locations[
        "reviews"
    ]
    assert binding.image is None and binding.takes_image("registry.example/acme-reviews:7")
    other = merged(TEAMS, changes, {"locations": {"reviews": {"image": "registry.example/acme-reviews:8"}}})
    assert instance(other) == instance(merged(TEAMS, changes)), "the daemon would start anew"
    code_server = render(other).get("Deployment", "code-reviews", "agents-acme")
    named = {"name": "DAGSTER_CURRENT_IMAGE", "value": "registry.example/acme-reviews:8"}
    assert named in code_server["spec"]["template"]["spec"]["containers"][0]["env"]


def test_the_values_of_a_location_are_those_of_a_binding() -> None:
    """Their defaults, too: what is not set is the launcher's to say."""
    own = set(Location.model_fields) - {"module", "server"}
    assert own == set(LocationBinding.model_fields) - {
        "namespace",
        "gateway_url",
        "ca_config_map",
        "tenant_keys_secret",
    }
    assert set(Gpu.model_fields) == set(GpuType.model_fields)
    for values, binding in ((Location, LocationBinding), (Gpu, GpuType)):
        for name in set(values.model_fields) & set(binding.model_fields) - {"service_account", "image"}:
            assert _plain(values.model_fields[name].default) == _plain(binding.model_fields[name].default), (
                name
            )


def _plain(default: Any) -> Any:
    return default.model_dump() if isinstance(default, BaseModel) else default


def test_the_state_of_runs_is_in_a_database() -> None:
    def variables(values: Mapping[str, Any]) -> dict[str, Any]:
        own = instance(values)["run_launcher"]["config"]["run_k8s_config"]["container_config"]["env"]
        return {one["name"]: one.get("value", one.get("valueFrom")) for one in own}

    url = "postgresql://orchestrator@postgresql.example:5432/orchestrator?sslmode=require"
    assert variables(LEAST)["ORCHESTRATOR_STATE_URL"] == url
    changes = {"postgresql": {"stateUrlSecret": {"name": "state", "key": "url"}}}
    found = variables(merged(LEAST, changes))["ORCHESTRATOR_STATE_URL"]
    assert found == {"secretKeyRef": {"name": "state", "key": "url"}}


def test_output_of_steps_goes_where_it_is_said() -> None:
    assert instance(LEAST)["compute_logs"]["class"] == "NoOpComputeLogManager"
    logs = {"module": "dagster_aws.s3", "class": "S3ComputeLogManager", "config": {"bucket": "logs"}}
    assert instance(merged(LEAST, {"runs": {"computeLogs": logs}}))["compute_logs"] == logs


def test_without_locations_the_workspace_is_empty() -> None:
    data = render(LEAST).get("ConfigMap", "instance")["data"]
    assert yaml.safe_load(data["workspace.yaml"]) == {"load_from": []}
    assert yaml.safe_load(data["dagster.yaml"])["run_launcher"]["config"]["bindings"] == {
        "gpus": [],
        "locations": {},
    }


def test_runs_are_given_the_keys_of_their_tenant() -> None:
    entry = {"name": "tenant-keys", "key": "keys.json"}
    values = merged(TEAMS, {"gateway": {"tenantKeysSecret": entry}})
    binding = read_bindings(instance(values)["run_launcher"]["config"]["bindings"]).locations["reviews"]
    assert binding.tenant_keys_secret == SecretEntry(name="tenant-keys", key="keys.json")


def test_with_tls_everything_is_verified_by_name() -> None:
    written = instance(merged(TEAMS, TLS))
    parameters = written["storage"]["custom"]["config"]["postgres_db"]["params"]
    assert parameters == {"sslmode": "verify-full", "sslrootcert": "/etc/orchestrator-ca/ca.crt"}
    assert instance(merged(TEAMS, TLS), "agents-acme")["storage"] == written["storage"]
    binding = read_bindings(written["run_launcher"]["config"]["bindings"]).locations["reviews"]
    assert binding.gateway_url == "https://agents-gateway.platform.svc:8900"
    assert binding.ca_config_map == "agents-ca" and binding.gateway_port == binding.relayed_port == 8_900
    data = render(merged(TEAMS, TLS)).get("ConfigMap", "instance")["data"]
    servers = [one["grpc_server"] for one in yaml.safe_load(data["workspace.yaml"])["load_from"]]
    assert [one["ssl"] for one in servers] == [True, True]
    plain = yaml.safe_load(render(TEAMS).get("ConfigMap", "instance")["data"]["workspace.yaml"])
    assert not any("ssl" in one["grpc_server"] for one in plain["load_from"])


@pytest.mark.parametrize(
    ("mode", "told"),
    [
        (None, {"sslmode": "verify-full", "sslrootcert": "/etc/orchestrator-ca/ca.crt"}),
        ("verify-ca", {"sslmode": "verify-ca", "sslrootcert": "/etc/orchestrator-ca/ca.crt"}),
        ("require", {"sslmode": "require"}),
    ],
)
def test_an_external_database_is_verified_as_far_as_its_operator_says(
    mode: str | None, told: dict[str, str]
) -> None:
    values = merged(LEAST, TLS, {"postgresql": {"sslMode": mode}})
    assert instance(values)["storage"]["custom"]["config"]["postgres_db"]["params"] == told
    own = instance(values)["run_launcher"]["config"]["run_k8s_config"]["container_config"]["env"]
    found = {one["name"]: one["value"] for one in own if "value" in one}
    assert found["PGSSLMODE"] == told["sslmode"] and found.get("PGSSLROOTCERT") == told.get("sslrootcert")
    url = found["ORCHESTRATOR_STATE_URL"]
    assert conninfo_to_dict(url).items() >= told.items()
    assert ("sslrootcert" in url) == ("sslrootcert" in told)


@pytest.mark.parametrize("mode", ["disable", "allow", "prefer"])
def test_no_database_may_be_asked_in_the_clear_where_tls_is_wanted(mode: str) -> None:
    with pytest.raises(Refused, match=f'postgresql.sslMode: "{mode}" may be a plain connection'):
        render(merged(LEAST, TLS, {"postgresql": {"sslMode": mode}}))


def test_nobody_waits_without_end_for_a_database_that_says_nothing() -> None:
    """A connection that is accepted and not answered: libpq sets no limit by itself, nor does Dagster."""
    found = list[str]()
    for one in render(TEAMS).manifests:
        if one["kind"] == "Deployment":
            for container in one["spec"]["template"]["spec"]["containers"]:
                told = {variable["name"]: variable.get("value") for variable in container.get("env", [])}
                if "PGPASSWORD" in told:
                    assert told["PGCONNECT_TIMEOUT"] == "10"
                    found.append(container["name"])
    assert {"daemon", "run-watch", "web-server", "code-server"} <= set(found)
