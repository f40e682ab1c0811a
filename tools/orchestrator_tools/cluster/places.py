"""Where the test cluster keeps things, and the addresses of its own network."""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from orchestrator_tools.steps import CHECKOUT

NODE: Final = "node-1"
NODE_ADDRESS: Final = "10.244.0.1"
"""On the pods' bridge: the node, and the way of every pod."""
POD_NETWORK: Final = "10.244.0.0/24"
SERVICE_NETWORK: Final = "10.96.0.0/16"
API_SERVICE: Final = "10.96.0.1"
DNS_SERVICE: Final = "10.96.0.10"
API_PORT: Final = 6443
DOMAIN: Final = "cluster.local"
CONTAINERD_SOCKET: Final = "/run/containerd/containerd.sock"
"""As the node sees it: it has a `/run` of its own."""
KUBELET_FOLDER: Final = "/var/lib/kubelet"
"""Where what pods write is, as the node sees it: on a disk of its own."""
VOLUME_PLUGINS: Final = f"{KUBELET_FOLDER}/volume-plugins"
"""Of its own, too; by default, components make this folder on the machine."""


@dataclass(frozen=True, kw_only=True)
class Places:
    """The folders of one test cluster.

    Attributes:
        cache: What is built and downloaded, by version; survives `make cluster-down` and is shared by all checkouts.
        state: Everything else; `make cluster-down` removes it.
    """

    cache: Path
    state: Path

    @property
    def logs(self) -> Path:
        """One file for each component."""
        return self.state / "logs"

    @property
    def certificates(self) -> Path:
        """The authority, keys and certificates."""
        return self.state / "certificates"

    @property
    def settings(self) -> Path:
        """The files that components are started with."""
        return self.state / "settings"

    @property
    def kubeconfig(self) -> Path:
        """The administrator's, for use inside the cluster's network."""
        return self.state / "kubeconfig"

    @property
    def programs(self) -> Path:
        """Programs for users of the cluster: kubectl of its version."""
        return self.state / "bin"

    @property
    def parts(self) -> Path:
        """What the node is told of the programs and images that it starts."""
        return self.settings / "parts.json"

    @property
    def record(self) -> Path:
        """Who runs: the ids of the cluster's processes."""
        return self.state / "running.json"

    @property
    def ending(self) -> Path:
        """Why the cluster ended by itself; missing while it runs."""
        return self.state / "ended.txt"

    @property
    def disk(self) -> Path:
        """The file that is the node's disk; missing where it has none of its own."""
        return self.state / "disk.ext4"

    @property
    def own_folders(self) -> dict[Path, Path]:
        """What the node sees in place of the machine's folders of these names."""
        return {Path("/var/lib"): self.state / "lib", Path("/var/log"): self.state / "log"}

    @property
    def cgroup(self) -> str:
        """The cgroup of all pods; one for each checkout."""
        return f"orchestrator-{hashlib.sha256(str(self.state).encode()).hexdigest()[:8]}"


def places() -> Places:
    """Return those of this checkout and user."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser().absolute()
    return Places(cache=cache / "orchestrator-cluster", state=CHECKOUT / "var" / "cluster")
