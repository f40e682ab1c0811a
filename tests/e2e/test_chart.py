"""The Helm chart on a cluster: installed, upgraded during runs, rolled back, uninstalled; what its policies allow."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator_cluster.code_servers import ClusterCodeServers
from orchestrator_cluster.deploys import deploy
from orchestrator_marketplace.signing_keys import write_key_pair
from tests.e2e.charts import RELEASE, SMALL, WAIT_SECONDS, ChartPlatform, another_name, installed, left_of
from tests.e2e.images import platform_images
from tests.e2e.kubectl import Namespace, kubectl
from tests.e2e.platform_objects import POSTGRES, deployment, secret, service_of
from tests.e2e.platforms import PROGRAMS
from tests.e2e.pods import caller
from tests.helm.charts import Refused

pytestmark = pytest.mark.timeout(1_800)

REGISTER = """
import pathlib, subprocess, sys
keys = pathlib.Path("/tmp/keys")
keys.mkdir()
(keys / "operator.key").write_text(sys.stdin.read())
subprocess.run(["orchestrator", "bundle", "key", keys / "acme.key"], check=True)
words = ["register", "acme", keys / "acme.key.pub", "--key", keys / "operator.key"]
subprocess.run(["orchestrator", "marketplace", *words], check=True)
"""
READ = """
import os, urllib.request
with urllib.request.urlopen(f"{os.environ['ORCHESTRATOR_MARKETPLACE']}/v1/publishers/acme", timeout=30) as answer:
    print(answer.read().decode())
"""


@pytest.fixture(scope="module")
def platform() -> Iterator[ChartPlatform]:
    with installed(platform_images()) as made:
        yield made


def generations(platform: ChartPlatform) -> dict[str, int]:
    """Return how often each deployment of the release was changed."""
    found = dict[str, int]()
    for namespace in (platform.namespace, platform.team):
        items = json.loads(namespace.ask("get", "deployments", "--output=json"))["items"]
        found |= {item["metadata"]["name"]: item["metadata"]["generation"] for item in items}
    return found


def looks(namespace: Namespace) -> dict[str, str]:
    """Return what a caller in a namespace found, by address."""
    lines = (line.rpartition(" ") for line in namespace.finish("looks").splitlines())
    return {address: state for state, _, address in lines}


def test_all_of_it_serves(platform: ChartPlatform) -> None:
    for namespace in (platform.namespace, platform.team):
        for item in json.loads(namespace.ask("get", "deployments", "--output=json"))["items"]:
            assert item["status"]["readyReplicas"] == item["spec"]["replicas"], item["metadata"]["name"]
    assert generations(platform).keys() >= {
        f"{RELEASE}-{name}" for name in ("gateway", "daemon", "web", "code-trials")
    }


def test_a_run_of_a_team_succeeds_in_its_namespace(platform: ChartPlatform) -> None:
    run_id = platform.launch("trials", "run_quick")
    platform.ends(run_id, "SUCCESS")
    (pod,) = platform.pods(run_id)
    assert pod["spec"]["serviceAccountName"] == f"{RELEASE}-runs"
    assert platform.calls("quick") == [1, 2]


def test_a_teams_pods_reach_gateway_database_and_names_only(platform: ChartPlatform, image: str) -> None:
    own = platform.namespace.name
    expected = {
        f"{RELEASE}-gateway.{own}.svc:8900": "open",
        f"{RELEASE}-postgresql.{own}.svc:5432": "open",
        f"{RELEASE}-web.{own}.svc:80": "closed",
        f"scripted.{own}.svc:8080": "closed",
        f"{RELEASE}-code-trials.{platform.team.name}.svc:4000": "closed",
        "kubernetes.default.svc:443": "closed",
    }
    platform.team.create(caller("looks", image, expected, {"role": "looks"}))
    assert looks(platform.team) == expected


def test_strangers_reach_nothing_of_the_release(
    platform: ChartPlatform, namespace: Namespace, image: str
) -> None:
    expected = {
        f"{RELEASE}-gateway.{platform.namespace.name}.svc:8900": "closed",
        f"{RELEASE}-postgresql.{platform.namespace.name}.svc:5432": "closed",
        f"{RELEASE}-web.{platform.namespace.name}.svc:80": "closed",
        f"{RELEASE}-code-trials.{platform.team.name}.svc:4000": "closed",
    }
    namespace.create(caller("looks", image, expected, {"role": "looks"}))
    assert looks(namespace) == expected


def test_an_upgrade_during_runs_loses_none(platform: ChartPlatform) -> None:
    before, asked = generations(platform), len(platform.calls("slow"))
    runs = [platform.launch("trials", "run_slow") for _ in range(2)]
    platform.asked("slow", asked + 1)
    # all pods of the release are replaced: gateways, daemon, web server, code server
    platform.upgrade(
        {
            "gateway": {"configuration": {"limits": {"lease_seconds": 20}}},
            "runs": {"maxConcurrent": 7, "environment": {"UPGRADED": "yes"}},
            "locations": {"trials": {"server": {"cpu": "21m"}}},
        }
    )
    after = generations(platform)
    for name in ("gateway", "daemon", "web", "code-trials"):
        assert after[f"{RELEASE}-{name}"] > before[f"{RELEASE}-{name}"], name
    for run_id in runs:
        platform.ends(run_id, "SUCCESS")
    assert sorted(platform.calls("slow")[asked:]) == [1, 1, 2, 2], "no call was lost, and none was made twice"


def test_a_change_of_one_code_server_touches_nothing_else(platform: ChartPlatform) -> None:
    before = generations(platform)
    changes = {"locations": {"trials": {"server": {"cpu": "22m"}}}}
    platform.upgrade({"gateway": {"configuration": {"limits": {"lease_seconds": 20}}}}, changes)
    middle = generations(platform)
    changes = {"locations": {"trials": {"server": {"cpu": "23m"}}}}
    platform.upgrade({"gateway": {"configuration": {"limits": {"lease_seconds": 20}}}}, changes)
    changed = {name for name, number in generations(platform).items() if number != middle[name]}
    assert changed == {f"{RELEASE}-code-trials"}
    assert before.keys() == middle.keys()


def test_a_marketplace_beside_it_is_a_teams_and_no_strangers(
    platform: ChartPlatform, namespace: Namespace, image: str, tmp_path: Path
) -> None:
    """Two pods over one database: a team's code server finds it by the release's variable, signs, and reads."""
    own = platform.namespace.name
    address = f"{RELEASE}-marketplace.{own}.svc:8940"
    key = tmp_path / "operator.key"
    write_key_pair(key, tmp_path / "operator.pub")
    database = {"url": "postgresql://platform@market-database:5432/postgres"}
    serving = ["python3", "-c", POSTGRES, PROGRAMS]
    platform.namespace.create(
        secret("marketplace", database),
        deployment("market-database", platform.images["postgres"], serving, port=5_432),
        service_of("market-database", 5_432),
    )
    platform.namespace.wait("deployment/market-database", "condition=Available", WAIT_SECONDS)
    calls = {"to": [{"podSelector": {"matchLabels": {"app": "market-database"}}}], "ports": [5_432]}
    platform.upgrade(
        {
            "marketplace": {
                "image": platform.images["dagster"],
                "replicas": 2,
                "resources": SMALL,
                "databaseUrlSecret": {"name": "marketplace", "key": "url"},
                "configuration": {"name": address, "registries": ["registry.example/agents"]},
                "operators": {"platform": (tmp_path / "operator.pub").read_text()},
                "calls": [calls],
            }
        }
    )
    server = ("exec", "--stdin", f"deployment/{RELEASE}-code-trials", "--", "python", "-c")
    told = platform.team.ask(*server, REGISTER, text=key.read_text())
    assert "acme" in told
    for _ in range(4):  # whichever of the two answers
        assert "-----BEGIN PUBLIC KEY-----" in platform.team.ask(*server, READ)
    platform.team.create(caller("finds", image, {address: "open"}, {"role": "looks"}))
    namespace.create(caller("looks", image, {address: "closed"}, {"role": "looks"}))
    assert platform.team.finish("finds").split() == ["open", address]
    assert looks(namespace) == {address: "closed"}


def test_what_does_not_serve_is_rolled_back(platform: ChartPlatform) -> None:
    platform.upgrade()
    revision = json.loads(platform.helm("history", "--output=json"))[-1]["revision"]
    with pytest.raises(Refused, match="gateway"):
        platform.upgrade(
            {"gateway": {"image": "localhost/not-there:1"}}, seconds=60, words=("--rollback-on-failure",)
        )
    last = json.loads(platform.helm("history", "--output=json"))[-1]
    assert last["status"] == "deployed" and last["description"] == f"Rollback to {revision}"
    platform.ends(platform.launch("trials", "run_quick"), "SUCCESS")


def test_what_a_team_has_deployed_stays_in_an_upgrade(platform: ChartPlatform) -> None:
    """`orchestrator deploy` and `helm upgrade` both say which image a code server has."""
    name, image = f"{RELEASE}-code-trials", platform.images["location"]
    own = {"locations": {"trials": {"repositories": [image.partition(":")[0]], "server": {"cpu": "24m"}}}}
    platform.upgrade(own)
    deployed = another_name(platform.images)
    deploy(ClusterCodeServers(None), "trials", deployed, print, namespace=platform.team.name)
    platform.upgrade(own, {"locations": {"trials": {"server": {"cpu": "25m"}}}})
    (container,) = platform.team.get("deployment", name)["spec"]["template"]["spec"]["containers"]
    assert container["image"] == deployed and container["resources"]["requests"]["cpu"] == "25m"
    platform.ends(platform.launch("trials", "run_quick"), "SUCCESS")


def test_a_rollback_is_the_same_backwards(platform: ChartPlatform) -> None:
    platform.helm("rollback", "1", "--wait", "--timeout=300s", "--force-conflicts")
    instance = platform.namespace.get("configmap", f"{RELEASE}-instance")["data"]["dagster.yaml"]
    assert "max_concurrent_runs: 25" in instance
    platform.ends(platform.launch("trials", "run_quick"), "SUCCESS")


def test_nothing_is_left_but_what_is_not_the_charts(platform: ChartPlatform) -> None:
    platform.helm("uninstall", "--wait", "--cascade=foreground", "--timeout=300s")
    for namespace in (platform.namespace, platform.team):
        assert left_of(RELEASE, namespace.name) == ""
    assert platform.team.get("secret", "gateway")["metadata"]["name"] == "gateway"
    assert kubectl("get", "namespace", platform.team.name, "--output=name")
