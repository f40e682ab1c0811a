"""What a team may do that deploys by itself."""

import inspect
import re

from orchestrator_cluster.code_servers import ClusterCodeServers
from tests.helm.charts import LEAST, TEAMS, render

VERBS = {"read": "get", "list": "list", "patch": "patch"}
NAMES = {"deployment": "deployments", "pod": "pods", "pod_log": "pods/log"}


def test_only_for_those_who_are_named_and_in_their_namespace() -> None:
    found = render(TEAMS).of("deploy-rights.yaml")
    assert [(one["kind"], one["metadata"]["namespace"]) for one in found] == [
        ("Role", "agents-acme"),
        ("RoleBinding", "agents-acme"),
    ]
    assert render(LEAST, {"tenants": {"acme": {}}}).of("deploy-rights.yaml") == []


def test_groups_and_service_accounts() -> None:
    account = {"kind": "ServiceAccount", "name": "ci"}
    (_, binding) = render(TEAMS).of("deploy-rights.yaml")
    assert binding["subjects"] == [
        {"kind": "ServiceAccount", "name": "ci", "namespace": "acme-ci"},
        {"kind": "Group", "name": "acme-engineers", "apiGroup": "rbac.authorization.k8s.io"},
    ]
    (_, binding) = render(LEAST, {"tenants": {"acme": {"deployers": [account]}}}).of("deploy-rights.yaml")
    assert binding["subjects"] == [{**account, "namespace": "agents-acme"}]


def test_they_are_what_a_deploy_asks_of_the_api_server_and_no_more() -> None:
    (role, _) = render(TEAMS).of("deploy-rights.yaml")
    given = {
        (resource, verb) for rule in role["rules"] for resource in rule["resources"] for verb in rule["verbs"]
    }
    calls = re.findall(r"\.(\w+?)_namespaced_(\w+)", inspect.getsource(ClusterCodeServers))
    assert len(calls) > 3, "a deploy asks otherwise now"
    assert {(NAMES[resource], VERBS[verb]) for verb, resource in calls} == given
