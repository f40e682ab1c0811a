"""The code servers of a cluster, as the API server has them; its client's errors end here."""
# the Kubernetes client is typed in part:
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportMissingTypeStubs=false

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from kubernetes import client, config  # type: ignore[import-untyped]
from kubernetes.client.exceptions import ApiException  # type: ignore[import-untyped]
from kubernetes.config.config_exception import ConfigException  # type: ignore[import-untyped]
from urllib3.exceptions import HTTPError

from orchestrator_cluster.cluster_errors import ClusterAway
from orchestrator_cluster.deploys import CONTAINER, LOCATION_LABEL, DeployFailed, DeploymentChanged
from orchestrator_cluster.lost_pods import Manifest

_ASK_SECONDS: Final = 30.0
_LINES: Final = 15
_FORBIDDEN: Final = 403
_CONFLICT: Final = 409
_WORDS: Final = 300


class ClusterCodeServers:
    """See `deploys.CodeServers`.

    Args:
        context: Of the user's configuration; None for its current one, or inside a pod for the pod's account.

    Raises:
        DeployFailed: No cluster is configured.
    """

    def __init__(self, context: str | None = None) -> None:
        """Read the configuration."""
        # the client's own default is read when it is imported
        file = os.environ.get("KUBECONFIG")
        try:
            if file is None and context is None and "KUBERNETES_SERVICE_HOST" in os.environ:
                config.load_incluster_config()
            else:
                config.load_kube_config(file or str(Path.home() / ".kube" / "config"), context)
        except (ConfigException, OSError) as error:
            raise DeployFailed(
                f"no cluster is configured: {error}; set KUBECONFIG, or name a context"
            ) from error
        self._apps: Any = client.AppsV1Api()
        self._core: Any = client.CoreV1Api()

    def find(self, location: str, namespace: str | None) -> list[Manifest]:
        """Return the deployments of a location's code server, in a namespace, or where None in any."""
        selector = f"{LOCATION_LABEL}={location}"
        if namespace is None:
            return _items(self._apps.list_deployment_for_all_namespaces, label_selector=selector)
        return _items(self._apps.list_namespaced_deployment, namespace, label_selector=selector)

    def read(self, namespace: str, name: str) -> Manifest:
        """Return a deployment as it is now."""
        deployment: Manifest = _answer(self._apps.read_namespaced_deployment, name, namespace)
        return deployment

    def patch(self, namespace: str, name: str, body: Mapping[str, Any]) -> Manifest:
        """Change a deployment and return it."""
        changed: Manifest = _answer(self._apps.patch_namespaced_deployment, name, namespace, dict(body))
        return changed

    def pods(self, namespace: str, labels: Mapping[str, str]) -> list[Manifest]:
        """Return the pods with labels."""
        selector = ",".join(f"{name}={value}" for name, value in labels.items())
        return _items(self._core.list_namespaced_pod, namespace, label_selector=selector)

    def last_words(self, namespace: str, pod: str) -> str:
        """Return the end of what a pod's code server said; empty where there is nothing."""
        for previous in (True, False):
            try:
                told = self._core.read_namespaced_pod_log(
                    pod,
                    namespace,
                    container=CONTAINER,
                    previous=previous,
                    tail_lines=_LINES,
                    _preload_content=False,
                    _request_timeout=_ASK_SECONDS,
                )
                words: str = told.data.decode(errors="replace").rstrip()
            except (ApiException, HTTPError, OSError) as error:
                if isinstance(error, ApiException) and error.status == _FORBIDDEN:
                    return f"(its log may not be read: {_told(error)})"
                continue  # it has said nothing that is still there
            if words:
                return words
        return ""


def _items(ask: Callable[..., Any], *words: Any, **more: Any) -> list[Manifest]:
    return list(_answer(ask, *words, **more)["items"])


def _answer(ask: Callable[..., Any], *words: Any, **more: Any) -> Any:
    """Return what the API server answers, as JSON."""
    try:
        told = ask(*words, **more, _preload_content=False, _request_timeout=_ASK_SECONDS)
        return json.loads(told.data)  # read here, not when it was asked
    except ApiException as error:
        if error.status == _CONFLICT:
            raise DeploymentChanged("somebody else changes it") from error
        raise ClusterAway(_told(error)) from error
    except (HTTPError, OSError, ValueError) as error:
        raise ClusterAway(_told(error)) from error


def _told(error: Exception) -> str:
    """Return what is wrong in one line; of an answer what the API server says."""
    if isinstance(error, ApiException) and error.body:
        try:
            return str(json.loads(error.body)["message"])[:_WORDS]
        except (ValueError, KeyError, TypeError):
            pass
    return " ".join(str(error).split())[:_WORDS]
