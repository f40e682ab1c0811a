"""The files that the components of the test cluster are started with, as text."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from orchestrator_tools.cluster.places import (
    CONTAINERD_SOCKET,
    DNS_SERVICE,
    DOMAIN,
    NODE_ADDRESS,
    POD_NETWORK,
    VOLUME_PLUGINS,
    Places,
)

PAUSE_IMAGE: Final = "localhost/pause:1"
FIRST_POD_ADDRESS: Final = "10.244.0.10"


def containerd_settings(plugins: Path, networks: Path) -> str:
    """Return containerd's configuration.

    Args:
        plugins: Folder of the CNI plugins.
        networks: Folder of the network's description.
    """
    return f"""\
version = 2
root = "/var/lib/containerd"
state = "/run/containerd"
[grpc]
  address = "{CONTAINERD_SOCKET}"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE_IMAGE}"
  # root of a container or of a small machine may lack CAP_SYS_RESOURCE: no process can then lower its score,
  # and every sandbox would die
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{plugins}"
    conf_dir = "{networks}"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
      SystemdCgroup = false
"""


def pod_network() -> dict[str, Any]:
    """Return the description of the pods' network for CNI: a bridge that holds the node's address."""
    addresses = {
        "type": "host-local",
        "ranges": [[{"subnet": POD_NETWORK, "gateway": NODE_ADDRESS, "rangeStart": FIRST_POD_ADDRESS}]],
        "routes": [{"dst": "0.0.0.0/0"}],
    }
    bridge = {"type": "bridge", "bridge": "cni0", "isGateway": True, "hairpinMode": True, "ipam": addresses}
    ports = {"type": "portmap", "capabilities": {"portMappings": True}}
    return {"cniVersion": "0.4.0", "name": "pods", "plugins": [bridge, ports]}


def kubelet_settings(places: Places) -> dict[str, Any]:
    """Return the kubelet's configuration."""
    certificates = places.certificates
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "failCgroupV1": False,
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{places.cgroup}",
        "containerRuntimeEndpoint": f"unix://{CONTAINERD_SOCKET}",
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": f"{certificates / 'ca.crt'}"},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": f"{certificates / 'kubelet.crt'}",
        "tlsPrivateKeyFile": f"{certificates / 'kubelet.key'}",
        "clusterDNS": [DNS_SERVICE],
        "clusterDomain": DOMAIN,
        "resolvConf": f"{places.settings / 'resolv.conf'}",
        "volumePluginDir": VOLUME_PLUGINS,
        "failSwapOn": False,
        "evictionHard": {
            "memory.available": "100Mi",
            "nodefs.available": "1%",
            "imagefs.available": "1%",
            "nodefs.inodesFree": "1%",
        },
        "volumeStatsAggPeriod": "5s",  # a minute is usual: who fills the disk is to be known when it is full
        "evictionPressureTransitionPeriod": "30s",  # five minutes are usual: a test waits for the end of it
        "imageGCHighThresholdPercent": 100,  # nothing can be pulled again
        "maxPods": 200,
        "syncFrequency": "10s",
    }


def settings_files(places: Places, plugins: Path) -> Mapping[Path, str]:
    """Return every file and its text; `plugins` is the folder of the CNI plugins."""
    networks = places.settings / "networks"
    return {
        places.settings / "containerd.toml": containerd_settings(plugins, networks),
        networks / "10-pods.conflist": json.dumps(pod_network(), indent=1),
        places.settings / "kubelet.json": json.dumps(kubelet_settings(places), indent=1),
        places.settings / "resolv.conf": "",  # no name leads out of the cluster
    }
