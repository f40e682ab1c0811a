"""Runs of agents as pods: what a run's plan needs, within what its code location may have."""
# dagster-k8s is typed in part:
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false

import contextlib
import functools
import re
from collections.abc import Callable, Generator, Mapping, Sequence
from typing import Any

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
from orchestrator_cluster.lost_pods import Manifest, has_begun, job_of
from orchestrator_cluster.podless_jobs import TAKEN_AWAY_POLICY, refusals
from orchestrator_cluster.pods import Refused, run_pod
from orchestrator_cluster.run_health import health_of, unknown_health, works
from orchestrator_cluster.run_internals import image_of, instance_text
from orchestrator_cluster.run_jobs import (
    RUN_LABEL,
    JobClient,
    job_of_run,
    labelled_jobs,
    make_job,
    refused_pods,
    remove_job,
    run_jobs,
    run_pods,
)
from orchestrator_cluster.run_tags import NAMESPACE_TAG, location_of
from orchestrator_cluster.warm_jobs import WARM_LABEL, WarmJob, warm_job
from orchestrator_cluster.warm_launches import WarmLaunches
from orchestrator_cluster.warm_shapes import WarmShape
from orchestrator_cluster.warm_specs import WarmSpec
from orchestrator_resources.agent_needs import AgentNeed, BadNeed, needs_of
from orchestrator_resources.environments import lock_digest
from orchestrator_runtimes.profiles import installed_frameworks


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
        self._kinds = dict[tuple[str, WarmShape], WarmJob]()
        super().__init__(**more)
        self._api_client = JobClient(self._api_client, self._start_job)

    @classmethod
    def config_type(cls) -> dict[str, Any]:
        """Return the configuration of `dagster.yaml`."""
        return {**K8sRunLauncher.config_type(), "bindings": Field(Permissive())}  # type: ignore[no-untyped-call]

    def launch_run(self, context: Any) -> None:  # Dagster's type has no public name
        """Start a run: in a pod that waits for one, or in one that is made.

        Raises:
            Refused: It asks for more than its location may have.
        """
        run: DagsterRun = context.dagster_run
        binding = self._binding(run)
        _refuse_own_wishes(run)
        if binding.warm.size and not self.warm.needs_pod(run, binding, self._needs(run)):
            return
        with self._launching(run, binding):
            super().launch_run(context)

    def resume_run(self, context: Any) -> None:
        """Start a run again, in a pod that is made; see `launch_run`."""
        run: DagsterRun = context.dagster_run
        _refuse_own_wishes(run)
        self.warm.starts.forget(run.run_id)
        with self._launching(run, self._binding(run)):
            super().resume_run(context)

    @functools.cached_property
    def warm(self) -> WarmLaunches:
        """What gives runs to pods that wait."""
        return WarmLaunches(self._instance, self._api_client, self.warm_job, self._tell_where)

    def warm_job(self, location: str, shape: WarmShape) -> WarmJob:
        """Return the kind of pods that could serve runs of a location with a shape.

        Raises:
            Refused: The location may not have it; it may be less by now than when the shape was learned.
        """
        if (known := self._kinds.get((location, shape))) is not None:
            return known
        binding = self._bound(location)
        spec = WarmSpec(
            namespace=binding.namespace,
            job="",
            location=location,
            repository=shape.repository,
            instance=instance_text(self._instance),
            seconds=binding.warm.seconds,
            fail_pod=bool(self.fail_pod_on_run_failure),
        )
        named = image_of(shape.repository)
        kind = warm_job(self, self._context(shape.needs, binding, named), named, spec)
        self._kinds[location, shape] = kind
        return kind

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
        name = self._job_of(run)
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
    def _launching(self, run: DagsterRun, binding: LocationBinding) -> Generator[None]:
        origin = run.job_code_origin
        named = None if origin is None else origin.repository_origin.container_image
        self._contexts[run.run_id] = self._context(self._needs(run), binding, named)
        try:
            self._tell_where(run, binding)
            yield
        finally:
            del self._contexts[run.run_id]

    def _tell_where(self, run: DagsterRun, binding: LocationBinding) -> None:
        """Tag a run with where it is, also where whoever asked for it did: only here is it known."""
        self._instance.add_run_tags(run.run_id, {NAMESPACE_TAG: binding.namespace})

    def _context(
        self, needs: Sequence[AgentNeed], binding: LocationBinding, named: str | None
    ) -> K8sContainerContext:
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

    def warm_jobs(self, namespace: str) -> list[Manifest]:
        """Return the jobs in a namespace whose pods wait for a run, or waited for one.

        Raises:
            ClusterAway: The API server does not tell.
        """
        return labelled_jobs(self._api_client, namespace, WARM_LABEL)

    def make_job(self, namespace: str, job: Manifest) -> None:
        """Make a job.

        Raises:
            ClusterAway: The API server does not do it.
        """
        make_job(self._api_client, namespace, job)

    def was_launched(self, run: DagsterRun) -> bool:
        """Return whether the cluster has been asked to do a run.

        Raises:
            ClusterAway: The API server does not tell.
            Refused: It is not known where the run would be.
        """
        namespace, job = self.namespace_of(run), self._job_of(run)
        return (
            self.is_job_of(run, namespace, job) and job_of_run(self._api_client, namespace, job) is not None
        )

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
        return self.namespace_of(run), self._job_of(run)

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
        if job is None or namespace != self.namespace_of(run):
            return False
        own = re.fullmatch(rf"{re.escape(_job_name(run.run_id))}(-[0-9]+)?", job) is not None
        return own or self.warm.starts.job_of(run.run_id) == job

    def take_back(self, run_id: str) -> bool:
        """Let no pod that waits take a run up any more; return False where one has."""
        return self.warm.starts.take_back(run_id)

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
        namespace, job = self.namespace_of(run), self._job_of(run)
        pods = run_pods(self._api_client, namespace, f"job-name={job}")  # the cluster gives pods this label
        began = any(has_begun(pod) for pod in pods if job_of(pod) == job)
        self._instance.report_run_canceling(run)
        try:
            self.remove_job(namespace, job)
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

    def get_run_worker_debug_info(
        self, run: DagsterRun, include_container_logs: bool | None = True
    ) -> str | None:
        """Return what the cluster says of a run's job and its pods."""
        namespace, name = self.namespace_of(run), self._job_of(run)
        pods: Any = self._api_client.get_pod_names_in_job(name, namespace=namespace)
        told = [
            self._api_client.get_pod_debug_info(pod, namespace, include_container_logs=include_container_logs)
            for pod in pods
        ] or [self._api_client.get_job_debug_info(name, namespace=namespace)]
        return "\n".join(map(str, told))

    def _job_of(self, run: DagsterRun) -> str:
        """Return the job whose pod has a run, or is to."""
        own = _job_name(run.run_id, self._instance.count_resume_run_attempts(run.run_id))
        return self.warm.starts.job_of(run.run_id) or own

    def _binding(self, run: DagsterRun) -> LocationBinding:
        return self._bound(location_of(run))

    def _bound(self, name: str | None) -> LocationBinding:
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
