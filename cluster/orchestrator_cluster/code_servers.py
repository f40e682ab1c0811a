"""The code servers of a cluster, as the API server has them."""
# the Kubernetes client is typed in part:
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportMissingTypeStubs=false

from collections.abc import Mapping
from typing import Any, Final

from kubernetes import client  # type: ignore[import-untyped]

from orchestrator_cluster.api_answers import ASK_SECONDS, answer, asking, items, status_of
from orchestrator_cluster.cluster_errors import ClusterAway
from orchestrator_cluster.deploys import CONTAINER, LOCATION_LABEL, DeployFailed, DeploymentChanged
from orchestrator_cluster.kube_configurations import configure
from orchestrator_cluster.lost_pods import Manifest

_LINES: Final = 15
_FORBIDDEN: Final = 403
_CONFLICT: Final = 409


class ClusterCodeServers:
    """See `deploys.CodeServers`.

    Args:
        context: Of the user's configuration; None for its current one, or inside a pod for the pod's account.

    Raises:
        DeployFailed: No cluster is configured.
    """

    def __init__(self, context: str | None = None) -> None:
        """Read the configuration."""
        try:
            configure(context)
        except ClusterAway as error:
            raise DeployFailed(str(error)) from error
        self._apps: Any = client.AppsV1Api()
        self._core: Any = client.CoreV1Api()

    def find(self, location: str, namespace: str | None) -> list[Manifest]:
        """Return the deployments of a location's code server, in a namespace, or where None in any."""
        selector = f"{LOCATION_LABEL}={location}"
        if namespace is None:
            return items(self._apps.list_deployment_for_all_namespaces, label_selector=selector)
        return items(self._apps.list_namespaced_deployment, namespace, label_selector=selector)

    def read(self, namespace: str, name: str) -> Manifest:
        """Return a deployment as it is now."""
        deployment: Manifest = answer(self._apps.read_namespaced_deployment, name, namespace)
        return deployment

    def patch(self, namespace: str, name: str, body: Mapping[str, Any]) -> Manifest:
        """Change a deployment and return it."""
        try:
            changed: Manifest = answer(self._apps.patch_namespaced_deployment, name, namespace, dict(body))
        except ClusterAway as error:
            if status_of(error) == _CONFLICT:
                raise DeploymentChanged("somebody else changes it") from error
            raise
        return changed

    def pods(self, namespace: str, labels: Mapping[str, str]) -> list[Manifest]:
        """Return the pods with labels."""
        selector = ",".join(f"{name}={value}" for name, value in labels.items())
        return items(self._core.list_namespaced_pod, namespace, label_selector=selector)

    def last_words(self, namespace: str, pod: str) -> str:
        """Return the end of what a pod's code server said; empty where there is nothing."""
        for previous in (True, False):
            try:
                with asking():
                    told = self._core.read_namespaced_pod_log(
                        pod,
                        namespace,
                        container=CONTAINER,
                        previous=previous,
                        tail_lines=_LINES,
                        _preload_content=False,
                        _request_timeout=ASK_SECONDS,
                    )
                    words: str = told.data.decode(errors="replace").rstrip()
            except ClusterAway as error:
                if status_of(error) == _FORBIDDEN:
                    return f"(its log may not be read: {error})"
                continue  # it has said nothing that is still there
            if words:
                return words
        return ""
