"""The jobs and pods of runs, as the API server has them."""
# the Kubernetes client, and what dagster-k8s makes of it, are typed in part:
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportMissingTypeStubs=false

from collections.abc import Callable, Mapping
from typing import Any, Final

from dagster_k8s.client import DagsterKubernetesClient

from orchestrator_cluster.api_answers import ASK_SECONDS, answer, asking, items, status_of
from orchestrator_cluster.cluster_errors import ClusterAway
from orchestrator_cluster.lost_pods import Manifest

RUN_LABEL: Final = "dagster/run-id"

_RUNS: Final = "app.kubernetes.io/component=run_worker"
_NOT_FOUND: Final = 404
_MAKE_SECONDS: Final = 10.0
"""For one try, as Dagster has it: the next one finds what this one made."""


class JobClient(DagsterKubernetesClient):
    """A client whose jobs somebody else makes, who knows what to do where the API server is away.

    Args:
        client: Whose connections it uses.
        start: Makes a job: gets a function that asks for it once, the job's name, its namespace, and its run.
    """

    def __init__(
        self,
        client: DagsterKubernetesClient,
        start: Callable[[Callable[[], object], str, str, str], None],
    ) -> None:
        """Begin with no job."""
        super().__init__(client.batch_api, client.core_api, client.logger, client.sleeper, client.timer)  # type: ignore[no-untyped-call]
        self._start = start

    def create_namespaced_job_with_retries(self, body: Any, namespace: str, *_: Any, **__: Any) -> None:
        """Make a job; see `job_starts.start_job`."""

        def make() -> object:
            return self.batch_api.create_namespaced_job(
                body=body, namespace=namespace, _request_timeout=_MAKE_SECONDS
            )

        self._start(make, body.metadata.name, namespace, body.metadata.labels[RUN_LABEL])


def job_of_run(client: DagsterKubernetesClient, namespace: str, name: str) -> Manifest | None:
    """Return a job as the API server tells it; None where it has none of this name.

    Raises:
        ClusterAway: The API server does not tell.
    """
    try:
        found: Manifest = answer(client.batch_api.read_namespaced_job_status, name, namespace)
    except ClusterAway as error:
        if status_of(error) != _NOT_FOUND:
            raise
        return None
    return found


def run_pods(client: DagsterKubernetesClient, namespace: str, *labels: str) -> list[Manifest]:
    """Return the pods of runs in a namespace that did not succeed, as the API server tells them.

    Args:
        client: Of the API server.
        namespace: Where they are.
        labels: That they have: `KEY=VALUE`, or `KEY`.

    Raises:
        ClusterAway: The API server does not tell.
    """
    return items(
        client.core_api.list_namespaced_pod,
        namespace,
        label_selector=",".join([_RUNS, *labels]),
        field_selector="status.phase!=Succeeded",
    )


def run_jobs(client: DagsterKubernetesClient, namespace: str) -> list[Manifest]:
    """Return the jobs of runs in a namespace that did not succeed, as the API server tells them.

    Raises:
        ClusterAway: The API server does not tell.
    """
    return items(
        client.batch_api.list_namespaced_job,
        namespace,
        label_selector=_RUNS,
        field_selector="status.successful=0",
    )


def labelled_jobs(client: DagsterKubernetesClient, namespace: str, label: str) -> list[Manifest]:
    """Return the jobs of a namespace with a label, as the API server tells them.

    Raises:
        ClusterAway: The API server does not tell.
    """
    return items(client.batch_api.list_namespaced_job, namespace, label_selector=label)


def make_job(client: DagsterKubernetesClient, namespace: str, job: Manifest) -> None:
    """Make a job.

    Raises:
        ClusterAway: The API server does not do it.
    """
    answer(client.batch_api.create_namespaced_job, namespace, job)


def label_pod(client: DagsterKubernetesClient, namespace: str, name: str, labels: Mapping[str, str]) -> None:
    """Give a pod further labels.

    Raises:
        ClusterAway: The API server does not do it.
    """
    answer(client.core_api.patch_namespaced_pod, name, namespace, {"metadata": {"labels": dict(labels)}})


def refused_pods(client: DagsterKubernetesClient, namespace: str) -> list[Manifest]:
    """Return the events of a namespace that tell of jobs whose pods could not be made.

    Raises:
        ClusterAway: The API server does not tell.
    """
    return items(
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
        with asking():
            client.batch_api.delete_namespaced_job(
                name, namespace, propagation_policy="Background", _request_timeout=ASK_SECONDS
            )
    except ClusterAway as error:
        if status_of(error) != _NOT_FOUND:
            raise
