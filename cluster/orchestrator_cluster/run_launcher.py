"""Runs of agents as pods: what a run's plan needs, within what its code location may have."""
# dagster-k8s is typed in part:
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false

import contextlib
import re
from collections.abc import Callable, Generator, Mapping, Sequence
from typing import Any, Final

from dagster import DagsterRun, Field, Permissive
from dagster_k8s import K8sRunLauncher
from dagster_k8s.container_context import K8sContainerContext
from dagster_k8s.job import (
    USER_DEFINED_K8S_CONFIG_KEY,
    UserDefinedDagsterK8sConfig,
    get_job_name_from_run_id,
)

from orchestrator_cluster.bindings import Bindings, LocationBinding, read_bindings
from orchestrator_cluster.cluster_errors import ClusterAway
from orchestrator_cluster.job_starts import start_job
from orchestrator_cluster.lost_pods import Manifest, has_begun
from orchestrator_cluster.podless_jobs import TAKEN_AWAY_POLICY, refusals
from orchestrator_cluster.pods import Refused, run_pod
from orchestrator_cluster.run_health import health_of, unknown_health, works
from orchestrator_cluster.run_jobs import (
    RUN_LABEL,
    JobClient,
    job_of_run,
    refused_pods,
    remove_job,
    run_jobs,
    run_pods,
)
from orchestrator_resources.agent_needs import AgentNeed, BadNeed, needs_of
from orchestrator_resources.environments import lock_digest
from orchestrator_runtimes.profiles import installed_frameworks

NAMESPACE_TAG: Final = "orchestrator/namespace"
"""Tag of a run: where its pod was made."""


class AgentRunLauncher(K8sRunLauncher):
    """Starts one pod for a run: its location's image, and a guest server beside it for each runtime of its plan.

    Namespace, service account, images, resources and nodes are those of `bindings`. The location's own container
    context, and `dagster-k8s/config` among the tags of a run or of a step, are refused by name: who writes them must
    not decide where code runs.

    Args:
        bindings: See `bindings.Bindings`.
        more: What `K8sRunLauncher` takes.

    Raises:
        BadBindings: The bindings are none.
    """

    def __init__(self, bindings: Mapping[str, Any], **more: Any) -> None:
        """Begin with no run."""
        self.bindings: Bindings = read_bindings(bindings)
        self._contexts = dict[str, K8sContainerContext]()  # of runs that are being started, by their ids
        super().__init__(**more)
        self._api_client = JobClient(self._api_client, self._start_job)

    @classmethod
    def config_type(cls) -> dict[str, Any]:
        """Return the configuration of `dagster.yaml`."""
        return {**K8sRunLauncher.config_type(), "bindings": Field(Permissive())}  # type: ignore[no-untyped-call]

    def launch_run(self, context: Any) -> None:  # Dagster's type has no public name
        """Start a run.

        Raises:
            Refused: It asks for more than its location may have.
        """
        with self._launching(context.dagster_run):
            super().launch_run(context)

    def resume_run(self, context: Any) -> None:
        """Start a run again; see `launch_run`."""
        with self._launching(context.dagster_run):
            super().resume_run(context)

    def get_container_context_for_run(self, dagster_run: DagsterRun) -> K8sContainerContext:
        """Return how the pod of a run that starts is made; of any other run, only where it is.

        What a location may have is no matter where a run is ended or asked after: it may be less by now.

        Raises:
            Refused: It is not known where it is.
        """
        starting = self._contexts.get(dagster_run.run_id)
        return starting or K8sContainerContext(namespace=self.namespace_of(dagster_run))

    def check_run_worker_health(self, run: DagsterRun) -> Any:
        """Return how the job of a run is; that an API server does not answer is no reason to end the run.

        Raises:
            Refused: It is not known where the run is.
        """
        name = _job_name(run.run_id, self._instance.count_resume_run_attempts(run.run_id))
        try:
            return health_of(run, name, job_of_run(self._api_client, self.namespace_of(run), name))
        except ClusterAway as error:
            return unknown_health(str(error))

    def _start_job(self, make: Callable[[], object], name: str, namespace: str, run_id: str) -> None:
        """Make a run's job; see `job_starts.start_job`."""

        def is_there() -> bool:
            job = job_of_run(self._api_client, namespace, name)
            return job is not None and job["metadata"]["labels"].get(RUN_LABEL) == run_id

        def is_wanted() -> bool:
            run = self._instance.get_run_by_id(run_id)
            return run is not None and works(run)

        def tell(words: str) -> None:
            run = self._instance.get_run_by_id(run_id)
            self._instance.report_engine_event(words, run, cls=type(self))

        start_job(make, is_there=is_there, is_wanted=is_wanted, tell=tell)

    @contextlib.contextmanager
    def _launching(self, run: DagsterRun) -> Generator[None]:
        binding = self._binding(run)
        self._contexts[run.run_id] = self._context(run, binding)
        try:
            # also where whoever asked for the run set it: only here is it known
            self._instance.add_run_tags(run.run_id, {NAMESPACE_TAG: binding.namespace})
            yield
        finally:
            del self._contexts[run.run_id]

    def _context(self, dagster_run: DagsterRun, binding: LocationBinding) -> K8sContainerContext:
        _refuse_own_wishes(dagster_run)
        origin = dagster_run.job_code_origin
        named = None if origin is None else origin.repository_origin.container_image
        needs = self._needs(dagster_run)
        pod = run_pod(needs, binding, self.bindings.gpus, named, plain=_shipped_environments(needs))
        own = K8sContainerContext(
            image_pull_policy=self.image_pull_policy,
            image_pull_secrets=self.image_pull_secrets,
            env_config_maps=self.env_config_maps,
            env_secrets=self.env_secrets,
            env_vars=self.env_vars,
            volume_mounts=self.volume_mounts,
            volumes=self.volumes,
            labels={**self.labels, **pod.labels},
            scheduler_name=self.scheduler_name,
            run_k8s_config=UserDefinedDagsterK8sConfig.from_dict(self.run_k8s_config or {}),  # type: ignore[no-untyped-call]
        )
        return own.merge(
            K8sContainerContext(
                namespace=binding.namespace,
                run_k8s_config=UserDefinedDagsterK8sConfig(
                    container_config=pod.container,
                    pod_spec_config=pod.pod,
                    pod_template_spec_metadata={"labels": dict(pod.labels)},
                    job_spec_config={"pod_failure_policy": TAKEN_AWAY_POLICY},
                ),
            )
        )

    @property
    def namespaces(self) -> list[str]:
        """Return where runs may be."""
        return sorted({location.namespace for location in self.bindings.locations.values()})

    def was_launched(self, run: DagsterRun) -> bool:
        """Return whether the cluster has been asked to do a run.

        Raises:
            ClusterAway: The API server does not tell.
            Refused: It is not known where the run would be.
        """
        return job_of_run(self._api_client, self.namespace_of(run), _job_name(run.run_id)) is not None

    def run_pods(self, namespace: str) -> list[Manifest]:
        """Return the pods of runs in a namespace that did not succeed.

        Raises:
            ClusterAway: The API server does not tell.
        """
        return run_pods(self._api_client, namespace)

    def run_jobs(self, namespace: str) -> list[Manifest]:
        """Return the jobs of runs in a namespace that did not succeed.

        Raises:
            ClusterAway: The API server does not tell.
        """
        return run_jobs(self._api_client, namespace)

    def refused(self, namespace: str) -> dict[str, str]:
        """Return why the cluster makes no pods in a namespace, in one line, by the uids of their jobs.

        Raises:
            ClusterAway: The API server does not tell.
        """
        return refusals(refused_pods(self._api_client, namespace))

    def place_of(self, run: DagsterRun) -> tuple[str, str]:
        """Return the namespace of the job of a run that starts for the first time, and its name.

        Raises:
            Refused: It is not known where the run is.
        """
        return self.namespace_of(run), _job_name(run.run_id)

    def job_of_run(self, namespace: str, name: str) -> Manifest | None:
        """Return a job; None where there is none.

        Raises:
            ClusterAway: The API server does not tell.
        """
        return job_of_run(self._api_client, namespace, name)

    def is_job_of(self, run: DagsterRun, namespace: str, job: str | None) -> bool:
        """Return whether a job is one that was made for a run: whoever may make pods can label them as any run's.

        Raises:
            Refused: It is not known where the run is.
        """
        name = re.escape(_job_name(run.run_id))
        mine = job is not None and re.fullmatch(rf"{name}(-[0-9]+)?", job) is not None
        return mine and namespace == self.namespace_of(run)

    def remove_job(self, namespace: str, job: str) -> None:
        """Remove a job with its pods, if it is there.

        Raises:
            ClusterAway: The API server does not do it.
        """
        remove_job(self._api_client, namespace, job)

    def terminate(self, run_id: str) -> bool:
        """End a run, and say so at once where its container never ran: nobody else would, for minutes.

        Returns:
            False where it is over, or cannot be ended; the run's log says why.

        Raises:
            ClusterAway: The API server does not answer.
            Refused: It is not known where the run is.
        """
        run = self._instance.get_run_by_id(run_id)
        if run is None or run.is_finished:
            return False
        namespace = self.namespace_of(run)
        began = any(map(has_begun, run_pods(self._api_client, namespace, run_id)))
        self._instance.report_run_canceling(run)
        resumed = self._instance.count_resume_run_attempts(run_id)
        try:
            self.remove_job(namespace, _job_name(run_id, resumed))
        except ClusterAway as error:
            self._instance.report_engine_event(f"The run was not ended: {error}.", run, cls=type(self))
            return False
        self._instance.report_engine_event("The run's job was removed.", run, cls=type(self))
        if not began:
            self._instance.report_run_canceled(run, "The run was canceled before its container ran.")
        return True

    def namespace_of(self, run: DagsterRun) -> str:
        """Return where the pod of a run is, also where its location is bound elsewhere by now, or no more.

        Raises:
            Refused: It was not started by this launcher, and its location is not bound.
        """
        return run.tags.get(NAMESPACE_TAG) or self._binding(run).namespace

    def _binding(self, run: DagsterRun) -> LocationBinding:
        origin = run.remote_job_origin
        name = None if origin is None else origin.repository_origin.code_location_origin.location_name
        binding = None if name is None else self.bindings.locations.get(name)
        if binding is None:
            there = ", ".join(sorted(self.bindings.locations)) or "none"
            raise Refused(
                f"the code location {name!r} is bound to no namespace; there are {there}: ask the operator"
            )
        return binding

    def _needs(self, run: DagsterRun) -> list[AgentNeed]:
        """Return what the steps need that this run is to execute: all, or those that a re-execution selects."""
        if run.execution_plan_snapshot_id is None:
            return []
        plan = self._instance.get_execution_plan_snapshot(run.execution_plan_snapshot_id)
        wanted = set(run.step_keys_to_execute or plan.step_keys_to_execute)
        steps = [step for step in plan.steps if step.key in wanted]
        for step in steps:
            if USER_DEFINED_K8S_CONFIG_KEY in (step.tags or {}):
                raise Refused(
                    f"the step {step.key!r} has the tag {USER_DEFINED_K8S_CONFIG_KEY!r}, which is not"
                    " taken: say what an agent needs in its `gpu`, or ask the operator"
                )
        try:
            return needs_of((step.key, step.tags or {}) for step in steps)
        except BadNeed as error:
            raise Refused(str(error)) from error


def _job_name(run_id: str, resumed: int = 0) -> str:
    return str(get_job_name_from_run_id(run_id, resumed))  # type: ignore[no-untyped-call]


def _shipped_environments(needs: Sequence[AgentNeed]) -> dict[str, str]:
    """Return the digest of the lock that each framework of a run comes with, as far as it is installed here."""
    installed = installed_frameworks()
    names = {need.framework for need in needs} & installed.keys()
    return {name: lock_digest(installed[name].lock()) for name in names}


def _refuse_own_wishes(run: DagsterRun) -> None:
    if USER_DEFINED_K8S_CONFIG_KEY in run.tags:
        raise Refused(
            f"the run has the tag {USER_DEFINED_K8S_CONFIG_KEY!r}, which is not taken: what"
            " runs may have is the operator's to say"
        )
    origin = run.job_code_origin
    context = None if origin is None else origin.repository_origin.container_context
    if context:
        raise Refused(
            f"the code location asks for {', '.join(sorted(context))} in its container context,"
            " which is not taken: what runs may have is the operator's to say"
        )
