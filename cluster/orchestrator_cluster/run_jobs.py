"""The jobs and pods of runs, as the API server has them; its client's errors end here."""
# the Kubernetes client, and what dagster-k8s makes of it, are typed in part:
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportMissingTypeStubs=false

import json
from typing import Final

from dagster_k8s.client import DagsterKubernetesClient
from dagster_k8s.job import get_job_name_from_run_id
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
    try:
        answer = client.core_api.list_namespaced_pod(
            namespace,
            label_selector=selector,
            field_selector="status.phase!=Succeeded",
            _preload_content=False,
            _request_timeout=ASK_SECONDS,
        )
        pods: list[Manifest] = json.loads(answer.data)["items"]
    except (ApiException, HTTPError, OSError) as error:
        raise _away(error) from error
    return pods


def remove_job(client: DagsterKubernetesClient, namespace: str, run_id: str) -> None:
    """Remove the job of a run with its pods, if it is there.

    Raises:
        ClusterAway: The API server does not do it.
    """
    try:
        client.delete_job(job_name=get_job_name_from_run_id(run_id), namespace=namespace)  # type: ignore[no-untyped-call]
    except ApiException as error:
        if error.status != _NOT_FOUND:
            raise _away(error) from error
    except (HTTPError, OSError) as error:
        raise _away(error) from error


def _away(error: Exception) -> ClusterAway:
    return ClusterAway(" ".join(str(error).split())[:_WORDS])
