"""The job of a warm pod: that of a run, as far as it is not the run's own."""
# dagster-k8s and the Kubernetes client are typed in part:
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportMissingTypeStubs=false

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from dagster_k8s import K8sRunLauncher
from dagster_k8s.container_context import K8sContainerContext
from dagster_k8s.job import construct_dagster_k8s_job
from kubernetes.client import ApiClient  # type: ignore[import-untyped]

from orchestrator_cluster.lost_pods import Manifest, job_of, loss_of
from orchestrator_cluster.warm_claims import STARTING, Claim
from orchestrator_cluster.warm_plans import WarmPod
from orchestrator_cluster.warm_specs import WarmSpec

WARM_LABEL: Final = "orchestrator/warm"
"""Of a job and its pod that were made to wait for a run; the value is the digest of their manifest."""
LOCATION_LABEL: Final = "dagster/code-location"

_DIGITS: Final = 40


@dataclass(frozen=True, kw_only=True)
class WarmJob:
    """A kind of warm pods.

    Attributes:
        spec: What their process is told, without the name of the job.
        context: How their pods are made; dagster-k8s's own.
        image: What the location's code server names; None where it names none.
        digest: Of the manifest, so of everything that is in the pod.
    """

    spec: WarmSpec
    context: K8sContainerContext
    image: str | None
    digest: str

    def manifest(self, launcher: K8sRunLauncher, name: str) -> Manifest:
        """Return the job of one of them."""
        labels = {WARM_LABEL: self.digest}
        return _manifest(launcher, self.context, self.image, replace(self.spec, job=name), labels)


def warm_job(
    launcher: K8sRunLauncher, context: K8sContainerContext, image: str | None, spec: WarmSpec
) -> WarmJob:
    """Return a kind of warm pods; `spec.job` says nothing."""
    blank = replace(spec, job="")
    text = json.dumps(_manifest(launcher, context, image, blank, {}), sort_keys=True)
    digest = hashlib.sha256(text.encode()).hexdigest()[:_DIGITS]
    return WarmJob(spec=blank, context=context, image=image, digest=digest)


def warm_pods(
    jobs: list[Manifest], pods: list[Manifest], podless: Mapping[str, str | None], claims: Mapping[str, Claim]
) -> list[WarmPod]:
    """Return the warm pods of a namespace.

    Args:
        jobs: As the API server tells them, in JSON.
        pods: Of these jobs.
        podless: Jobs that the cluster makes no pod for, by their names.
        claims: By the names of their jobs.
    """
    by_job = {job_of(pod): pod for pod in pods}
    return [
        WarmPod(
            namespace=job["metadata"]["namespace"],
            job=name,
            digest=job["metadata"]["labels"][WARM_LABEL],
            made=datetime.fromisoformat(job["metadata"]["creationTimestamp"]).timestamp(),
            state=claims.get(name, STARTING).state,
            lost=_lost(job, by_job.get(name)) or podless.get(name),
        )
        for job in jobs
        if (name := str(job["metadata"]["name"])) and not job["metadata"].get("deletionTimestamp")
    ]


def serves(pod: Manifest) -> bool:
    """Return whether all containers of a pod run, and nobody removes it."""
    status: Manifest = pod.get("status", {})
    everyone = [*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())]
    running = bool(everyone) and all("running" in one.get("state", {}) for one in everyone)
    return running and loss_of(pod) is None and not pod["metadata"].get("deletionTimestamp")


def _lost(job: Manifest, pod: Manifest | None) -> str | None:
    status: Manifest = job.get("status", {})
    for one in status.get("conditions") or ():
        if one["type"] in ("Complete", "Failed") and one["status"] == "True":
            return f"it is {one['type'].lower()}"
    return None if pod is None else loss_of(pod)


def _manifest(
    launcher: K8sRunLauncher,
    context: K8sContainerContext,
    image: str | None,
    spec: WarmSpec,
    labels: Mapping[str, str],
) -> Manifest:
    job = construct_dagster_k8s_job(
        job_config=context.get_k8s_job_config(job_image=image, run_launcher=launcher),
        args=spec.command(),
        job_name=spec.job,
        pod_name=spec.job,
        component="run_worker",  # whatever selects the pods of runs selects this one
        user_defined_k8s_config=context.run_k8s_config,
        labels={LOCATION_LABEL: spec.location, **labels},
    )
    made: Any = ApiClient().sanitize_for_serialization(job)
    return dict(made)
