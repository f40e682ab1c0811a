"""What whoever starts and ends runs may do, and where."""

import inspect
import re

from dagster_k8s.client import DagsterKubernetesClient

from tests.helm.charts import NAMESPACE, TEAMS, render


def test_only_in_the_namespaces_of_tenants() -> None:
    found = render(TEAMS).of("run-rights.yaml")
    assert {one["kind"] for one in found} == {"Role", "RoleBinding"}
    assert sorted(one["metadata"]["namespace"] for one in found) == ["agents-acme"] * 2 + ["rival-agents"] * 2
    assert not [one for one in render(TEAMS).manifests if one["kind"].startswith("Cluster")]


def test_the_daemon_and_the_web_server_have_them() -> None:
    rendered = render(TEAMS)
    for namespace in ("agents-acme", "rival-agents"):
        binding = rendered.get("RoleBinding", "run-launcher", namespace)
        assert (
            binding["roleRef"]["name"] == rendered.get("Role", "run-launcher", namespace)["metadata"]["name"]
        )
        (subject,) = binding["subjects"]
        assert subject == {"kind": "ServiceAccount", "name": "agents-dagster", "namespace": NAMESPACE}


def test_they_are_what_dagster_asks_of_the_api_server_and_no_more() -> None:
    rules = render(TEAMS).get("Role", "run-launcher", "agents-acme")["rules"]
    given = {(resource, verb) for rule in rules for resource in rule["resources"] for verb in rule["verbs"]}
    asked = {
        (resource, verb)
        for call, resource in re.findall(
            r"_api\.(\w+?)_namespaced_(\w+)", inspect.getsource(DagsterKubernetesClient)
        )
        for verb in [{"read": "get"}.get(call, call)]
    }
    names = {
        "job": "jobs",
        "job_status": "jobs/status",
        "pod": "pods",
        "pod_log": "pods/log",
        "event": "events",
    }
    assert len(asked) > 5, "Dagster's client asks otherwise now"
    ours = {("pods", "patch")}  # a pod that waited for a run is labelled as that run's
    assert {(names[resource], verb) for resource, verb in asked} | ours == given
