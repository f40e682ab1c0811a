"""The jobs and pods of runs, as the API server has them; its client's errors end here."""
# the Kubernetes client, and what dagster-k8s makes of it, are typed in part:
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportMissingTypeStubs=false

import json
from collections.abc import Callable
from typing import Any, Final

from dagster_k8s.client import DagsterKubernetesClient
from kubernetes.client.exceptions import ApiException  # type: ignore[import-untyped]
from urllib3.exceptions import HTTPError

from orchestrator_cluster.cluster_errors import ClusterAway
from orchestrator_cluster.lost_pods import Manifest

RUN_LABEL: Final = "dagster/run-id"
ASK_SECONDS: Final = 30.0

_RUNS: Final = "app.kubernetes.io/component=run_worker"
_NOT_FOUND: Final = 404
_WORDS: Final = 300


def run_pods(client: DagsterKubernetesClient, namespace: str, run_id: str | None = None) -> list[Manifest]:
    """Return the pods of runs in a namespace that did not succeed, as the API server tells them.

    Args:
        client: Of the API server.
        namespace: Where they are.
        run_id: Whose they are; None for all runs.

    Raises:
        ClusterAway: The API server does not tell.
    """
    selector = _RUNS if run_id is None else f"{_RUNS},{RUN_LABEL}={run_id}"
    return _listed(
        client.core_api.list_namespaced_pod,
        namespace,
        label_selector=selector,
        field_selector="status.phase!=Succeeded",
    )


def run_jobs(client: DagsterKubernetesClient, namespace: str) -> list[Manifest]:
    """Return the jobs of runs in a namespace that did not succeed, as the API server tells them.

    Raises:
        ClusterAway: The API server does not tell.
    """
    return _listed(
        client.batch_api.list_namespaced_job,
        namespace,
        label_selector=_RUNS,
        field_selector="status.successful=0",
    )


def refused_pods(client: DagsterKubernetesClient, namespace: str) -> list[Manifest]:
    """Return the events of a namespace that tell of jobs whose pods could not be made.

    Raises:
        ClusterAway: The API server does not tell.
    """
    return _listed(
        client.core_api.list_namespaced_event,
        namespace,
        field_selector="reason=FailedCreate,involvedObject.kind=Job",
    )


def remove_job(client: DagsterKubernetesClient, namespace: str, name: str) -> None:
    """Remove a job, and let the cluster remove its pods; nothing is wrong where it is not there.

    Raises:
        ClusterAway: The API server does not do it.
    """
    try:
        client.batch_api.delete_namespaced_job(
            name, namespace, propagation_policy="Background", _request_timeout=ASK_SECONDS
        )
    except ApiException as error:
        if error.status != _NOT_FOUND:
            raise _away(error) from error
    except (HTTPError, OSError) as error:
        raise _away(error) from error


def _listed(ask: Callable[..., Any], namespace: str, **selectors: str) -> list[Manifest]:
    try:
        answer = ask(namespace, _preload_content=False, _request_timeout=ASK_SECONDS, **selectors)
        found: list[Manifest] = json.loads(answer.data)["items"] or []
    except (ApiException, HTTPError, OSError) as error:
        raise _away(error) from error
    return found


def _away(error: Exception) -> ClusterAway:
    # what it says for people comes after its headers, which nobody wants
    told = (
        f"{error.status} {error.reason}: {error.body or ''}"
        if isinstance(error, ApiException)
        else str(error)
    )
    return ClusterAway(" ".join(told.split())[:_WORDS])
