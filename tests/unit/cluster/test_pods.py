"""Pods of runs: nothing that a location may have is forgotten, and nothing is given beyond it."""

import json
from itertools import combinations
from typing import Any

import pytest
from pydantic import BaseModel

from orchestrator_cluster.bindings import (
    BadBindings,
    Bindings,
    GpuType,
    LocationBinding,
    Toleration,
    read_bindings,
)
from orchestrator_cluster.pods import GUESTS, Refused, run_pod
from orchestrator_resources.agent_needs import AgentNeed
from orchestrator_resources.gpus import GpuRequest
from orchestrator_runtimes.guest_server_messages import server_name

PLAIN = AgentNeed(framework="langgraph", environment="0" * 64)
SHIPPED = {"langgraph": "0" * 64, "agno": "2" * 64}
OTHER = AgentNeed(framework="agno", environment="1" * 64)
BIG = AgentNeed(framework="langgraph", environment="0" * 64, gpu=GpuRequest(count=2, memory_mb=50_000))
H100 = {
    "name": "H100",
    "memory_mb": 81_559,
    "node_selector": {"gpu": "h100"},
    "tolerations": [{"key": "gpu"}],
}
SLICE = {
    "name": "H100-1g.10gb",
    "memory_mb": 9_728,
    "resource": "nvidia.com/mig-1g.10gb",
    "node_selector": {"gpu": "mig"},
}
CLUSTER = {
    "locations": {
        "team": {
            "tenant": "acme",
            "namespace": "acme-runs",
            "service_account": "acme-runner",
            "image": "acme:1",
            "gateway_url": "http://gateway.platform:8900",
            "images": {"langgraph": "langgraph:1", "1" * 64: "agno-acme:2"},
            "run": {"cpu": "250m", "memory": "700Mi"},
            "guest": {"cpu": "2", "memory": "3Gi"},
            "max_gpus": 4,
            "gpu_types": ["H100", "H100-1g.10gb"],
            "node_selector": {"pool": "acme"},
            "tolerations": [{"key": "acme", "operator": "Equal", "value": "yes", "effect": "NoSchedule"}],
            "priority_class": "teams",
        }
    },
    "gpus": [H100, SLICE],
}


def bound(**changes: Any) -> tuple[LocationBinding, Bindings]:
    location = {**CLUSTER["locations"]["team"], **changes}  # type: ignore[index]
    bindings = read_bindings({**CLUSTER, "locations": {"team": location}})
    return bindings.locations["team"], bindings


def pod(*needs: AgentNeed, **changes: Any) -> Any:
    binding, bindings = bound(**changes)
    made = run_pod(needs, binding, bindings.gpus, plain=SHIPPED)
    return json.loads(json.dumps({"container": made.container, "pod": made.pod, "labels": dict(made.labels)}))


def test_a_run_without_agents_has_no_guests() -> None:
    made = pod()
    assert made["pod"]["initContainers"] == [] and made["container"]["image"] == "acme:1"


def test_each_runtime_is_a_native_sidecar_in_its_own_image() -> None:
    servers = pod(PLAIN, OTHER)["pod"]["initContainers"]
    assert [server["image"] for server in servers] == ["langgraph:1", "agno-acme:2"]
    assert {server["restartPolicy"] for server in servers} == {"Always"}
    assert len({server["name"] for server in servers}) == 2
    assert not any("startupProbe" in server for server in servers), (
        "a next one, and the run, would wait for it"
    )


def test_no_container_may_do_more_than_pod_security_restricted_allows() -> None:
    made = pod(PLAIN, OTHER)
    assert made["pod"]["automountServiceAccountToken"] is False
    assert made["pod"]["securityContext"]["runAsNonRoot"] is True
    for container in [made["container"], *made["pod"]["initContainers"]]:
        context = container["securityContext"]
        assert context["capabilities"] == {"drop": ["ALL"]} and context["readOnlyRootFilesystem"] is True
        assert context["allowPrivilegeEscalation"] is False and context["runAsNonRoot"] is True
        assert context["seccompProfile"] == {"type": "RuntimeDefault"}


def test_guests_are_other_users_and_share_a_folder_in_memory_with_the_run_and_nothing_with_each_other() -> (
    None
):
    made = pod(PLAIN, OTHER)
    run, servers = made["container"], made["pod"]["initContainers"]
    assert run["securityContext"]["runAsUser"] not in {
        server["securityContext"]["runAsUser"] for server in servers
    }
    assert len({server["securityContext"]["runAsUser"] for server in servers}) == len(servers)
    own, *theirs = (
        {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
        for container in [run, *servers]
    )
    volumes = {volume["name"]: volume["emptyDir"] for volume in made["pod"]["volumes"]}
    assert volumes.keys() == {name for names in (own, *theirs) for name in names}
    assert not any(one.keys() & other.keys() for one, other in combinations(theirs, 2))
    for need, mounts in zip((PLAIN, OTHER), theirs, strict=True):
        (shared,) = own.keys() & mounts.keys()
        assert volumes[shared]["medium"] == "Memory" and mounts[shared] == GUESTS
        assert own[shared] == f"{GUESTS}/{server_name(need.framework, need.environment)}"
    assert not any("envFrom" in server for server in servers)
    assert {one["name"] for server in servers for one in server["env"]} == {"NVIDIA_VISIBLE_DEVICES"}


def test_guests_are_locked_to_the_port_of_the_gateway_that_the_run_is_told() -> None:
    made = pod(PLAIN, OTHER)
    assert {"name": "ORCHESTRATOR_GATEWAY_URL", "value": "http://gateway.platform:8900"} in made["container"][
        "env"
    ]
    for server in made["pod"]["initContainers"]:
        assert server["command"][-2:] == ["--gateway-port", "8900"]
    for server in pod(PLAIN, gateway_url="http://10.0.0.1")["pod"]["initContainers"]:
        assert server["command"][-2:] == ["--gateway-port", "80"]


def test_guests_reach_a_gateway_that_speaks_tls_by_a_relay_in_their_pod() -> None:
    made = pod(PLAIN, OTHER, gateway_url="https://gateway.platform:8900", ca_config_map="agents-ca")
    relay, *servers = made["pod"]["initContainers"]
    run = made["container"]
    assert relay["command"] == [
        "python",
        "-m",
        "orchestrator_resources.gateway_relay",
        "--gateway=https://gateway.platform:8900",
        "--ca=/etc/orchestrator-ca/ca.crt",
    ]
    assert relay["image"] == run["image"] and relay["restartPolicy"] == "Always"
    assert relay["securityContext"] == run["securityContext"]
    assert {
        "ORCHESTRATOR_GATEWAY_URL": "https://gateway.platform:8900",
        "ORCHESTRATOR_GATEWAY_CA_FILE": "/etc/orchestrator-ca/ca.crt",
        "ORCHESTRATOR_GUESTS_GATEWAY_URL": "http://127.0.0.1:8900",
    }.items() <= {one["name"]: one["value"] for one in run["env"]}.items()
    mount = {"name": "ca", "mountPath": "/etc/orchestrator-ca", "readOnly": True}
    assert mount in run["volumeMounts"] and relay["volumeMounts"] == [mount]
    assert {"name": "ca", "configMap": {"name": "agents-ca"}} in made["pod"]["volumes"]
    for server in servers:
        assert server["command"][-2:] == ["--gateway-port", "8900"]
        assert "ca" not in {one["name"] for one in server["volumeMounts"]}


def test_no_relay_where_nobody_needs_one() -> None:
    told = {"gateway_url": "https://10.0.0.1"}
    assert pod(**told)["pod"]["initContainers"] == []
    system = pod(PLAIN, **told)
    relay, server = system["pod"]["initContainers"]
    assert relay["volumeMounts"] == [] and relay["command"][-1] == "--gateway=https://10.0.0.1"
    assert server["command"][-2:] == ["--gateway-port", "443"]
    opened = pod(PLAIN, network="open", **told)["pod"]["initContainers"]
    assert len(opened) == 2 and "--gateway-port" not in opened[1]["command"], (
        "guests hold no authority there either"
    )
    assert len(pod(PLAIN)["pod"]["initContainers"]) == 1


def test_why_a_guest_server_ended_is_told_by_its_own_words() -> None:
    (server,) = pod(PLAIN)["pod"]["initContainers"]
    assert server["terminationMessagePolicy"] == "FallbackToLogsOnError"


def test_an_open_network_is_only_what_somebody_asked_for() -> None:
    made = pod(PLAIN, gateway_url=None, network="open")
    assert "--gateway-port" not in made["pod"]["initContainers"][0]["command"]
    assert "ORCHESTRATOR_GATEWAY_URL" not in {variable["name"] for variable in made["container"]["env"]}


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"gateway_url": None}, "network is 'gateway', and there is none to lock guests to: set gateway_url"),
        ({"gateway_url": "gateway:8900"}, "it must be such as http://gateway:8900, without /v1"),
        ({"gateway_url": "http://gateway:port"}, "it must be such as http://gateway:8900"),
    ],
)
def test_a_lock_that_would_keep_guests_from_their_gateway_is_refused(
    changes: dict[str, Any], why: str
) -> None:
    with pytest.raises(BadBindings, match=why):
        bound(**changes)


def test_gpus_are_the_guests_and_lead_to_their_nodes() -> None:
    made = pod(BIG)
    (server,) = made["pod"]["initContainers"]
    assert (
        server["resources"]["limits"]["nvidia.com/gpu"]
        == "2"
        == server["resources"]["requests"]["nvidia.com/gpu"]
    )
    assert made["pod"]["nodeSelector"] == {"pool": "acme", "gpu": "h100"}
    assert {"key": "gpu", "operator": "Exists"} in made["pod"]["tolerations"]
    assert "nvidia.com/gpu" not in made["container"]["resources"]["limits"]


def test_what_has_no_gpu_sees_none_whatever_its_image_says() -> None:
    none = {"name": "NVIDIA_VISIBLE_DEVICES", "value": "void"}
    made = pod(BIG, OTHER)
    with_gpus, without = made["pod"]["initContainers"]
    assert none in made["container"]["env"] and without["env"] == [none]
    assert "env" not in with_gpus, "the device plug-in says which are its own"


def test_the_plain_image_of_a_framework_has_the_environment_that_it_comes_with_and_no_other() -> None:
    images = {"agno": "agno:1", "1" * 64: "agno-acme:2"}

    def image(environment: str) -> str:
        need = AgentNeed(framework="agno", environment=environment)
        (server,) = pod(need, images=images)["pod"]["initContainers"]
        return str(server["image"])

    assert image("2" * 64) == "agno:1" and image("1" * 64) == "agno-acme:2"
    with pytest.raises(Refused, match=r"no image for agno with the environment 333333333333; there are"):
        image("3" * 64)


def test_a_slice_is_taken_where_it_is_enough() -> None:
    small = AgentNeed(framework="langgraph", environment="0" * 64, gpu=GpuRequest(memory_mb=8_000))
    (server,) = pod(small)["pod"]["initContainers"]
    assert server["resources"]["limits"]["nvidia.com/mig-1g.10gb"] == "1"


def test_agents_of_one_environment_share_a_guest_server_and_its_gpus() -> None:
    one = AgentNeed(framework="langgraph", environment="0" * 64, gpu=GpuRequest(count=1, type="h100"))
    (server,) = pod(PLAIN, one, BIG)["pod"]["initContainers"]
    assert server["resources"]["limits"]["nvidia.com/gpu"] == "2"


@pytest.mark.parametrize(
    ("needs", "changes", "why"),
    [
        (
            (
                AgentNeed(framework="agno", environment="1" * 64, gpu=GpuRequest(type="H100")),
                AgentNeed(framework="agno", environment="1" * 64, gpu=GpuRequest(type="L4")),
            ),
            {},
            "two agents of one environment ask for GPUs of the kinds 'H100' and 'L4'",
        ),
        ((BIG,), {"max_gpus": 1}, "ask for 2 GPUs together, and the location may have 1"),
        ((BIG,), {"gpu_types": []}, "a GPU of any type with 50000 MiB, and the location may have none"),
        ((BIG,), {"gpu_types": ["H100-1g.10gb"]}, "may have H100-1g.10gb with 9728 MiB"),
        ((BIG,), {"node_selector": {"gpu": "none"}}, "GPUs of the kind 'H100' are on other nodes"),
        (
            (OTHER,),
            {"images": {"langgraph": "l:1"}},
            "no image for agno with the environment 1+; there are langgraph",
        ),
    ],
)
def test_what_is_asked_beyond_is_refused_by_name(
    needs: tuple[AgentNeed, ...], changes: dict[str, Any], why: str
) -> None:
    with pytest.raises(Refused, match=why):
        pod(*needs, **changes)


def own_image(named: str | None) -> Any:
    _, bindings = bound()
    written = {"tenant": "acme", "namespace": "acme", "repositories": ["acme/agents"], "network": "open"}
    return run_pod([], LocationBinding.model_validate(written), bindings.gpus, named, plain={}).container[
        "image"
    ]


def test_a_location_may_name_an_image_of_its_own_repository() -> None:
    assert own_image("acme/agents:2") == "acme/agents:2"
    with pytest.raises(
        Refused, match=r"names the image 'other/agents:2', and the location may have .* acme/agents"
    ):
        own_image("other/agents:2")
    with pytest.raises(Refused, match="names no image: set DAGSTER_CURRENT_IMAGE"):
        own_image(None)


CHANGED: dict[type[BaseModel], dict[str, Any]] = {
    LocationBinding: {
        "tenant": "other",
        "service_account": "other",
        "image": "other:1",
        "gateway_url": "http://gateway.platform:8901",
        "ca_config_map": "agents-ca",
        "network": "open",
        "tenant_keys_secret": {"name": "tenant-keys", "key": "keys.json"},
        "images": {"langgraph": "other:2", "1" * 64: "agno-acme:2"},
        "run": {"cpu": "1", "memory": "700Mi"},
        "guest": {"cpu": "1", "memory": "3Gi"},
        "node_selector": {"pool": "other"},
        "tolerations": [],
        "priority_class": None,
        "gpu_types": ["H100"],
    },
}
ELSEWHERE = {
    "namespace": "the launcher's, where the job is made",
    "max_gpus": "a bound: see the refusals",
    "repositories": "a bound of the image that a code server names",
    "warm": "how many of these pods wait for a run",
}


def test_every_field_of_a_binding_reaches_the_manifest() -> None:
    """A new field fails here until it reaches the pod, or is said to go elsewhere."""
    assert LocationBinding.model_fields.keys() == CHANGED[LocationBinding].keys() | ELSEWHERE.keys()
    small = AgentNeed(framework="langgraph", environment="0" * 64, gpu=GpuRequest())
    for name, value in CHANGED[LocationBinding].items():
        assert pod(small, OTHER, **{name: value}) != pod(small, OTHER), name


def test_every_field_of_a_kind_of_gpu_reaches_the_manifest() -> None:
    changed: dict[str, Any] = {
        "name": "H200",
        "memory_mb": 1,
        "resource": "nvidia.com/gpu.shared",
        "node_selector": {"gpu": "other"},
        "tolerations": [],
    }
    assert GpuType.model_fields.keys() == changed.keys()
    binding, bindings = bound()
    h100 = bindings.gpus[0]
    before = run_pod([BIG], binding, [h100], plain=SHIPPED)
    for name in ("resource", "node_selector", "tolerations"):
        other = GpuType.model_validate({**h100.model_dump(), name: changed[name]})
        assert run_pod([BIG], binding, [other], plain=SHIPPED) != before, name
    for name in ("name", "memory_mb"):  # by which it is chosen
        with pytest.raises(Refused):
            run_pod([BIG], binding, [h100.model_copy(update={name: changed[name]})], plain=SHIPPED)


def test_every_field_of_a_toleration_reaches_the_manifest() -> None:
    one = Toleration(key="k", operator="Equal", value="v", effect="NoSchedule")
    (told,) = pod(PLAIN, tolerations=[one.model_dump()])["pod"]["tolerations"]
    assert told == one.model_dump()
