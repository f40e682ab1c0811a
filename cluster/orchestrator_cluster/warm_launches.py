"""Runs that begin in a pod that waits for one."""
# dagster-k8s is typed in part:
# pyright: reportUnknownMemberType=false, reportMissingTypeStubs=false

import logging
from collections.abc import Callable
from typing import Final

from dagster import DagsterInstance, DagsterRun
from dagster_k8s.client import DagsterKubernetesClient

from orchestrator_cluster.bindings import LocationBinding
from orchestrator_cluster.cluster_errors import ClusterAway
from orchestrator_cluster.instance_values import InstanceValues
from orchestrator_cluster.lost_pods import job_of
from orchestrator_cluster.run_internals import repository_of
from orchestrator_cluster.run_jobs import RUN_LABEL, label_pod, run_pods
from orchestrator_cluster.run_starts import RunStarts
from orchestrator_cluster.run_tags import location_of
from orchestrator_cluster.warm_claims import WarmClaims
from orchestrator_cluster.warm_jobs import WARM_LABEL, WarmJob, serves
from orchestrator_cluster.warm_shapes import WarmShape, WarmShapes
from orchestrator_resources.agent_needs import AgentNeed

LOG: Final = logging.getLogger("orchestrator_cluster.warm_launches")


class WarmLaunches:
    """Gives runs of one instance to warm pods.

    Args:
        instance: Of the runs.
        client: Of the API server.
        kind: Makes the kind of pod that would serve runs of a location with a shape.
        tell_where: Tags a run with where it is.
    """

    def __init__(
        self,
        instance: DagsterInstance,
        client: DagsterKubernetesClient,
        kind: Callable[[str, WarmShape], WarmJob],
        tell_where: Callable[[DagsterRun, LocationBinding], None],
    ) -> None:
        """Begin with what the instance keeps."""
        values = InstanceValues(instance)
        self.claims: Final = WarmClaims(values)
        self.shapes: Final = WarmShapes(values)
        self.starts: Final = RunStarts(values)
        self._client, self._kind, self._tell_where = client, kind, tell_where

    def needs_pod(self, run: DagsterRun, binding: LocationBinding, needs: list[AgentNeed]) -> bool:
        """Give a run to a pod that waits, if there is one that is what the run's own would be.

        Args:
            run: That is launched.
            binding: Of its location.
            needs: Of its agents.

        Returns:
            Whether a pod is to be made for it: no other has it, and nobody else launches it.
        """
        beginning = self.starts.begin(run.run_id)
        if beginning != "any pod":
            return beginning == "own pod"
        try:
            given = self._give(run, binding, needs)
        except BaseException:
            self.starts.take_back(run.run_id)
            raise
        return not given and self.starts.take_back(run.run_id)

    def _give(self, run: DagsterRun, binding: LocationBinding, needs: list[AgentNeed]) -> bool:
        """Give a run to a pod that waits; return whether it is nobody else's matter any more."""
        location, repository = location_of(run), repository_of(run)
        if location is None or repository is None:
            return False
        shape = WarmShape(repository=repository, needs=tuple(needs))
        self.shapes.learn(location, shape, binding.warm.size)
        if shape.has_gpus:
            return False
        digest = self._kind(location, shape).digest
        try:
            pods = run_pods(self._client, binding.namespace, f"{WARM_LABEL}={digest}")
        except ClusterAway as error:
            LOG.warning("no warm pod for run %s: %s", run.run_id, error)
            return False
        claims = self.claims.of(binding.namespace) if pods else {}
        before: str | None = None
        for pod in sorted(filter(serves, pods), key=lambda pod: str(pod["metadata"]["creationTimestamp"])):
            job = job_of(pod)
            if job is None or job not in claims or claims[job].state != "waiting":
                continue
            if before is None:
                self._tell_where(run, binding)
            if not self.starts.give(run.run_id, job, before):
                return True  # taken back: it is queued again, and starts in a pod of its own
            # from here on the pod may execute the run: nothing that fails may look like a failed launch
            if self.claims.claim(binding.namespace, job, run.run_id):
                self._label(binding.namespace, str(pod["metadata"]["name"]), run)
                return True
            before = job
        return False

    def _label(self, namespace: str, pod: str, run: DagsterRun) -> None:
        """Say of a pod whose it is, for people: nothing here reads that."""
        try:
            label_pod(self._client, namespace, pod, {RUN_LABEL: run.run_id})
        except ClusterAway as error:
            LOG.warning("the pod %r of run %s does not say whose it is: %s", pod, run.run_id, error)
