"""Command lines and files of the test cluster's components."""

import json
import tomllib
from pathlib import Path

import pytest

from orchestrator_tools.cluster import components
from orchestrator_tools.cluster.components import Component
from orchestrator_tools.cluster.manifests import DNS_LABELS, dns_objects
from orchestrator_tools.cluster.node import Parts, network_batch, parts_text, read_parts
from orchestrator_tools.cluster.places import (
    CONTAINERD_SOCKET,
    DNS_SERVICE,
    NODE_ADDRESS,
    SERVICE_NETWORK,
    Places,
    places,
)
from orchestrator_tools.cluster.settings import PAUSE_IMAGE, settings_files

PLACES = Places(cache=Path("/cache"), state=Path("/state"))
PROGRAM = Path("/cache/kubernetes")


def every_component() -> list[Component]:
    of_kubernetes = (
        components.api_server,
        components.controller_manager,
        components.scheduler,
        components.kubelet,
        components.proxy,
        components.policies,
    )
    return [
        components.etcd(),
        components.containerd(PLACES),
        *(component(PROGRAM, PLACES) for component in of_kubernetes),
    ]


def flags(component: Component) -> dict[str, str]:
    pairs = (word.lstrip("-").partition("=") for word in component.command if word.startswith("--"))
    return {key: value for key, _, value in pairs}


def test_components_have_names_and_addresses_of_their_own() -> None:
    names = [component.name for component in every_component()]
    addresses = [component.ready for component in every_component()]
    assert len(set(names)) == len(set(addresses)) == len(names)


@pytest.mark.parametrize("component", every_component(), ids=lambda component: component.name)
def test_a_component_is_asked_on_loopback_or_a_socket(component: Component) -> None:
    assert component.ready.startswith(("http://127.0.0.1:", "https://127.0.0.1:", CONTAINERD_SOCKET))


def test_services_get_addresses_of_one_network() -> None:
    given = {flags(component).get("service-cluster-ip-range") for component in every_component()} - {None}
    assert given == {SERVICE_NETWORK}


def test_kube_router_only_enforces_policies() -> None:
    given = flags(components.policies(Path("/kube-router"), PLACES))
    assert (given["run-firewall"], given["run-router"], given["run-service-proxy"]) == (
        "true",
        "false",
        "false",
    )


def test_no_component_makes_a_folder_for_plug_ins_on_the_machine() -> None:
    told = json.loads(settings_files(PLACES, Path("/plugins"))[PLACES.settings / "kubelet.json"])
    folders = {
        told["volumePluginDir"],
        flags(components.controller_manager(PROGRAM, PLACES))["flex-volume-plugin-dir"],
    }
    for folder in folders:
        assert any(Path(folder).is_relative_to(own) for own in PLACES.own_folders)


def test_containerd_reads_its_settings() -> None:
    files = settings_files(PLACES, Path("/plugins"))
    told = tomllib.loads(files[PLACES.settings / "containerd.toml"])
    interface = told["plugins"]["io.containerd.grpc.v1.cri"]
    assert told["grpc"]["address"] == CONTAINERD_SOCKET
    assert interface["sandbox_image"] == PAUSE_IMAGE
    assert interface["restrict_oom_score_adj"] is True
    assert interface["cni"]["bin_dir"] == "/plugins"
    assert Path(interface["cni"]["conf_dir"]) / "10-pods.conflist" in files


def test_the_kubelet_keeps_pods_below_the_clusters_cgroup() -> None:
    told = json.loads(settings_files(PLACES, Path("/plugins"))[PLACES.settings / "kubelet.json"])
    assert told["cgroupRoot"] == f"/{PLACES.cgroup}"
    assert told["clusterDNS"] == [DNS_SERVICE]
    assert Path(told["resolvConf"]) in settings_files(PLACES, Path("/plugins"))


def test_two_checkouts_share_no_cgroup() -> None:
    assert PLACES.cgroup != Places(cache=PLACES.cache, state=Path("/elsewhere")).cgroup


def test_the_nodes_network_has_no_way_out() -> None:
    lines = network_batch().splitlines()
    assert f"address add {NODE_ADDRESS}/24 dev cni0" in lines
    routes = [line for line in lines if line.startswith("route")]
    assert routes == [f"route add {SERVICE_NETWORK} dev cni0"]


def test_the_dns_has_the_address_and_the_labels_that_everybody_expects() -> None:
    items = {item["kind"]: item for item in dns_objects("localhost/dns:1")["items"]}
    assert items["Service"]["spec"]["clusterIP"] == DNS_SERVICE
    assert items["Service"]["spec"]["selector"] == DNS_LABELS == {"k8s-app": "kube-dns"}
    assert items["Deployment"]["spec"]["template"]["metadata"]["labels"] == DNS_LABELS
    assert "kubernetes cluster.local" in items["ConfigMap"]["data"]["Corefile"]


def test_the_node_is_told_what_it_is_made_of() -> None:
    parts = Parts(
        kubernetes=PROGRAM,
        kube_router=Path("/kube-router"),
        images=(Path("/a.tar"), Path("/b.tar")),
        manifest=Path("/dns.json"),
        environment={"PATH": "/bin"},
    )
    assert read_parts(parts_text(parts)) == parts


def test_the_cache_is_the_users_and_outside_of_the_checkout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert places().cache == Path("/somewhere/orchestrator-cluster")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert places().cache == Path("~/.cache/orchestrator-cluster").expanduser()
