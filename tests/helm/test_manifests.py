"""What holds for all objects of the chart."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from orchestrator_tools.chart.files import CHART
from tests.helm.charts import LEAST, NAMESPACE, ONE_TEAM, TEAMS, TLS, Manifest, helm, merged, render
from tests.helm.kubernetes_schema import wrongs

TEMPLATES = sorted(path.name for path in (CHART / "templates").iterdir() if not path.name.startswith("_"))
FILES = ("least", "teams")
SETS = {
    "least": LEAST,
    "teams": TEAMS,
    "with TLS": merged(TEAMS, TLS),
    "one team with TLS": merged(TEAMS, ONE_TEAM, TLS),
}
PODS = ("Deployment", "StatefulSet")


@pytest.fixture(params=SETS)
def values(request: pytest.FixtureRequest) -> Mapping[str, Any]:
    return SETS[request.param]


def pods(manifests: list[Manifest]) -> list[tuple[str, Any]]:
    return [
        (f"{one['metadata']['namespace']}/{one['metadata']['name']}", one["spec"]["template"]["spec"])
        for one in manifests
        if one["kind"] in PODS
    ]


@pytest.mark.parametrize("name", FILES)
def test_helm_has_nothing_to_say(name: str) -> None:
    said = helm("lint", "--strict", "--quiet", CHART, f"--values={CHART / 'ci' / f'{name}-values.yaml'}")
    assert "[ERROR]" not in said and "[WARNING]" not in said, said


def test_each_template_has_a_file_of_tests() -> None:
    tested = {
        path.stem.removeprefix("test_").replace("_", "-") for path in Path(__file__).parent.glob("test_*.py")
    }
    assert {Path(name).stem.lower() for name in TEMPLATES} <= tested


def test_each_template_makes_something(values: Mapping[str, Any]) -> None:
    made = set(render(TEAMS, TLS).sources)
    assert made | {"NOTES.txt"} == set(TEMPLATES)
    assert set(render(values).sources) <= made


def test_kubernetes_knows_all_that_is_there(values: Mapping[str, Any]) -> None:
    assert [wrong for one in render(values).manifests for wrong in wrongs(one)] == []


def test_a_wrong_object_would_be_seen() -> None:
    (service,) = render(LEAST).of("gateway-service.yaml")
    port = {"name": "http", "prot": 1, "port": "8900"}
    broken = {**service, "spec": {**service["spec"], "ports": [port]}}
    assert list(wrongs(broken)) == [
        "Service.spec.ports[0]: there is no 'prot'",
        "Service.spec.ports[0].port: '8900' is no int",
    ]


def test_names_are_there_once(values: Mapping[str, Any]) -> None:
    named = [
        (one["kind"], one["metadata"].get("namespace"), one["metadata"]["name"])
        for one in render(values).manifests
    ]
    assert len(named) == len(set(named))


def test_every_object_says_which_release_it_is_of(values: Mapping[str, Any]) -> None:
    for one in render(values).manifests:
        labels = one["metadata"]["labels"]
        assert (
            labels["app.kubernetes.io/instance"] == "agents"
            and labels["helm.sh/chart"] == "orchestrator-0.1.0"
        )
        assert one["kind"] == "Namespace" or one["metadata"]["namespace"], one


def test_every_pod_passes_pod_security_restricted(values: Mapping[str, Any]) -> None:
    found = pods(list(render(values).manifests))
    assert found
    for name, pod in found:
        assert pod["securityContext"]["runAsNonRoot"] is True, name
        assert pod["securityContext"]["runAsUser"] > 0, name
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, name
        assert {*pod["securityContext"]} <= {
            "runAsNonRoot",
            "runAsUser",
            "runAsGroup",
            "fsGroup",
            "seccompProfile",
        }
        assert not {"hostNetwork", "hostPID", "hostIPC", "hostUsers", "initContainers"} & pod.keys(), name
        for container in pod["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "capabilities": {"drop": ["ALL"]},
                "readOnlyRootFilesystem": True,
            }, name
        kinds = {kind for volume in pod["volumes"] for kind in volume if kind != "name"}
        assert kinds <= {"emptyDir", "configMap", "secret"}, name


def test_every_container_has_requests_and_a_limit_of_memory(values: Mapping[str, Any]) -> None:
    for name, pod in pods(list(render(values).manifests)):
        for container in pod["containers"]:
            resources = container["resources"]
            assert {*resources["requests"]} == {"cpu", "memory"}, name
            assert resources["limits"] == {"memory": resources["requests"]["memory"]}, name
        assert all("sizeLimit" in volume.get("emptyDir", {"sizeLimit": ""}) for volume in pod["volumes"]), (
            name
        )


def test_only_what_starts_and_ends_runs_has_a_token(values: Mapping[str, Any]) -> None:
    with_token = {
        name: pod["serviceAccountName"]
        for name, pod in pods(list(render(values).manifests))
        if pod["automountServiceAccountToken"]
    }
    assert with_token == dict.fromkeys(
        (f"{NAMESPACE}/agents-daemon", f"{NAMESPACE}/agents-web"), "agents-dagster"
    )
    for account in render(values).of("accounts.yaml"):
        assert account["automountServiceAccountToken"] is False


def test_the_chart_makes_no_secret(values: Mapping[str, Any]) -> None:
    assert not [one for one in render(values).manifests if one["kind"] == "Secret"]
    for _, pod in pods(list(render(values).manifests)):
        for variable in (one for container in pod["containers"] for one in container["env"]):
            if re.search("PASSWORD|SECRET|KEY|TOKEN", variable["name"]):
                assert "secretKeyRef" in variable["valueFrom"], variable


def test_every_pod_finds_the_account_that_it_has(values: Mapping[str, Any]) -> None:
    rendered = render(values)
    there = {(one["metadata"]["namespace"], one["metadata"]["name"]) for one in rendered.of("accounts.yaml")}
    for one in rendered.manifests:
        if one["kind"] in PODS:
            name = one["spec"]["template"]["spec"]["serviceAccountName"]
            assert (one["metadata"]["namespace"], name) in there


def test_images_of_registries_with_a_password(values: Mapping[str, Any]) -> None:
    changed = render(values, {"imagePullSecrets": ["one", "two"], "imagePullPolicy": "Never"})
    for name, pod in pods(list(changed.manifests)):
        assert pod["imagePullSecrets"] == [{"name": "one"}, {"name": "two"}], name
        assert {container["imagePullPolicy"] for container in pod["containers"]} == {"Never"}, name
