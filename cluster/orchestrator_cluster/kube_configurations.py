"""Which cluster is meant: that of a pod's own account, or of the user's configuration."""
# the Kubernetes client is typed in part:
# pyright: reportUnknownMemberType=false, reportMissingTypeStubs=false

import os
from pathlib import Path

from kubernetes import config  # type: ignore[import-untyped]
from kubernetes.config.config_exception import ConfigException  # type: ignore[import-untyped]

from orchestrator_cluster.cluster_errors import ClusterAway


def configure(context: str | None = None) -> None:
    """Have the Kubernetes client speak to a cluster.

    Args:
        context: Of the user's configuration; None for its current one, or inside a pod for the pod's account.

    Raises:
        ClusterAway: No cluster is configured.
    """
    # the client's own default is read when it is imported
    file = os.environ.get("KUBECONFIG")
    try:
        if file is None and context is None and "KUBERNETES_SERVICE_HOST" in os.environ:
            config.load_incluster_config()
        else:
            config.load_kube_config(file or str(Path.home() / ".kube" / "config"), context)
    except (ConfigException, OSError) as error:
        raise ClusterAway(f"no cluster is configured: {error}; set KUBECONFIG, or name a context") from error
