"""Tenants on a cluster, as an operator makes them: each sees its own, and from none is another's reached."""

import base64
import json
import time
from collections.abc import Iterator, Mapping

import pytest

from tests.e2e.charts import RELEASE
from tests.e2e.images import platform_images
from tests.e2e.kubectl import Namespace
from tests.e2e.pods import caller
from tests.e2e.tenant_platforms import KEYS, POOL, TenantPlatform, made_by_an_operator

pytestmark = pytest.mark.timeout(1_800)

LOCATIONS = "{ workspaceOrError { ... on Workspace { locationEntries { name locationOrLoadError { __typename } } } } }"
RUNS = "{ runsOrError { ... on Runs { results { runId } } } }"
SEEN_SECONDS = 5.0
"""For every server to see what is stored."""
ASSETS = "{ assetNodes { assetKey { path } } }"


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TenantPlatform]:
    with made_by_an_operator(tmp_path_factory.mktemp("operator"), platform_images()) as made:
        yield made


def loaded(platform: TenantPlatform) -> Mapping[str, str]:
    entries = platform.ask(LOCATIONS)["workspaceOrError"]["locationEntries"]
    return {entry["name"]: entry["locationOrLoadError"]["__typename"] for entry in entries}


def runs(platform: TenantPlatform) -> set[str]:
    return {run["runId"] for run in platform.ask(RUNS)["runsOrError"]["results"]}


def looks(namespace: Namespace, image: str, expected: Mapping[str, str], labels: Mapping[str, str]) -> None:
    """Fail unless a pod with labels finds addresses open and closed as expected."""
    namespace.create(caller("looks", image, expected, labels))
    lines = (line.rpartition(" ") for line in namespace.finish("looks").splitlines())
    assert {address: state for state, _, address in lines} == expected
    namespace.ask("delete", "pod", "looks")


@pytest.mark.parametrize(
    ("tenant", "location", "asset"),
    [("red", "red-agents", "greeting"), ("blue", "blue-trials", "quick")],
)
def test_each_sees_and_runs_its_own_alone(
    platform: TenantPlatform, tenant: str, location: str, asset: str
) -> None:
    with platform.asked_by(tenant):
        platform.until(
            lambda: loaded(platform) == {location: "RepositoryLocation"}, 120, f"{tenant} sees its location"
        )
        assert [node["assetKey"]["path"] for node in platform.ask(ASSETS)["assetNodes"]] == [[tenant, asset]]
        run_id = platform.launch(location, "__ASSET_JOB", assets=[[tenant, asset]])
        platform.ends(run_id, "SUCCESS")
        assert runs(platform) == {run_id}
    (pod,) = platform.pods(run_id)
    assert pod["metadata"]["namespace"] == f"{RELEASE}-{tenant}"
    assert (pod["spec"].get("nodeSelector") == {POOL: "blue"}) is (tenant == "blue")


def keys_of(namespace: Namespace) -> set[str]:
    """Return whose keys a namespace has."""
    written = namespace.get("secret", KEYS["name"])["data"][KEYS["key"]]
    return set(json.loads(base64.b64decode(written)))


def test_each_has_the_key_that_seals_what_it_says_and_guests_have_none(platform: TenantPlatform) -> None:
    assert keys_of(platform.namespace) == {"red", "blue"} and keys_of(platform.own) == {"green"}
    assert [keys_of(platform.team(tenant)) for tenant in ("red", "blue")] == [{"red"}, {"blue"}]
    with platform.asked_by("red"):
        run_id = platform.launch("red-agents", "__ASSET_JOB", assets=[["red", "greeting"]])
        platform.ends(run_id, "SUCCESS")  # a gateway refuses a tenant without a key
    (pod,) = platform.pods(run_id)
    (volume,) = [one["name"] for one in pod["spec"]["volumes"] if "secret" in one]
    containers = pod["spec"]["containers"] + pod["spec"]["initContainers"]
    having = [
        one["name"]
        for one in containers
        if volume in {mount["name"] for mount in one.get("volumeMounts", ())}
    ]
    assert len(having) == 1 and having == [pod["spec"]["containers"][0]["name"]]


def test_from_a_guest_and_a_run_of_one_nothing_of_another_answers(
    platform: TenantPlatform, image: str
) -> None:
    shared, own = platform.namespace.name, platform.own.name
    expected = {
        f"{RELEASE}-gateway.{shared}.svc:8900": "open",
        f"{RELEASE}-postgresql.{shared}.svc:5432": "open",
        f"control.{shared}.svc:5432": "closed",
        f"{RELEASE}-web.{shared}.svc:80": "closed",
        f"scripted.{shared}.svc:8080": "closed",
        f"{RELEASE}-code-blue-trials.{RELEASE}-blue.svc:4000": "closed",
        f"{RELEASE}-green-gateway.{own}.svc:8900": "closed",
        f"{RELEASE}-green-postgresql.{own}.svc:5432": "closed",
        f"{RELEASE}-green-web.{own}.svc:80": "closed",
        "kubernetes.default.svc:443": "closed",
    }
    looks(platform.team("red"), image, expected, {"orchestrator/tenant": "red"})


def test_who_has_an_instance_alone_shares_nothing(platform: TenantPlatform) -> None:
    told = json.loads(platform.own.ask("get", "deployments,statefulsets", "--output=json"))["items"]
    names = {item["metadata"]["name"] for item in told}
    release = f"{RELEASE}-green"
    assert names >= {f"{release}-{part}" for part in ("gateway", "daemon", "web", "postgresql")}
    assert "green" not in platform.namespace.get("configmap", f"{RELEASE}-instance")["data"]["workspace.yaml"]


def test_what_others_changed_is_told_and_is_as_it_was_afterwards(platform: TenantPlatform) -> None:
    assert "nothing is different" in platform.tenants("drift", "--platform", "platform.yaml")
    team = platform.team("red")
    (quota,) = json.loads(team.ask("get", "resourcequotas", "--output=json"))["items"]
    name = quota["metadata"]["name"]
    team.ask("patch", "resourcequota", name, "--patch", json.dumps({"spec": {"hard": {"pods": "999"}}}))
    (policy, *_) = json.loads(team.ask("get", "networkpolicies", "--output=json"))["items"]
    team.ask("delete", "networkpolicy", policy["metadata"]["name"])
    told = platform.tenants("drift", "--platform", "platform.yaml", fails=True)
    assert name in told and policy["metadata"]["name"] in told and "2 parts differ" in told
    platform.tenants("reconcile", "--platform", "platform.yaml")
    assert team.get("resourcequota", name)["spec"]["hard"] == quota["spec"]["hard"]
    assert "nothing is different" in platform.tenants("drift", "--platform", "platform.yaml")


def test_a_tenant_that_is_suspended_starts_nothing_and_goes_on_when_it_is_resumed(
    platform: TenantPlatform,
) -> None:
    words = ("red-agents", "__ASSET_JOB")
    platform.tenants("suspend", "red")
    time.sleep(SEEN_SECONDS)
    with pytest.raises(AssertionError, match="the tenant 'red' is suspended"):  # an answer with errors
        platform.launch(*words, assets=[["red", "greeting"]])
    platform.tenants("resume", "red")
    time.sleep(SEEN_SECONDS)
    platform.ends(platform.launch(*words, assets=[["red", "greeting"]]), "SUCCESS")
