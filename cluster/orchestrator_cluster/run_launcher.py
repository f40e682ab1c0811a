"""Runs of agents as pods: what a run's plan needs, within what its code location may have."""
# dagster-k8s is typed in part:
# pyright: reportUnknownMemberType=false

from collections.abc import Mapping, Sequence
from typing import Any

from dagster import DagsterRun, Field, Permissive
from dagster_k8s import K8sRunLauncher
from dagster_k8s.container_context import K8sContainerContext
from dagster_k8s.job import USER_DEFINED_K8S_CONFIG_KEY, UserDefinedDagsterK8sConfig

from orchestrator_cluster.bindings import Bindings, LocationBinding, read_bindings
from orchestrator_cluster.lost_pods import Manifest, has_begun
from orchestrator_cluster.pods import Refused, run_pod
from orchestrator_cluster.run_jobs import remove_job, run_pods
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
        super().__init__(**more)

    @classmethod
    def config_type(cls) -> dict[str, Any]:
        """Return the configuration of `dagster.yaml`."""
        return {**K8sRunLauncher.config_type(), "bindings": Field(Permissive())}  # type: ignore[no-untyped-call]

    def get_container_context_for_run(self, dagster_run: DagsterRun) -> K8sContainerContext:
        """Return how the pod of a run is made; also where it is looked for later.

        Raises:
            Refused: The run asks for more than its location may have.
        """
        binding = self._binding(dagster_run)
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
                ),
            )
        )

    @property
    def namespaces(self) -> list[str]:
        """Return where runs may be."""
        return sorted({location.namespace for location in self.bindings.locations.values()})

    def run_pods(self, namespace: str) -> list[Manifest]:
        """Return the pods of runs in a namespace that did not succeed.

        Raises:
            ClusterAway: The API server does not tell.
        """
        return run_pods(self._api_client, namespace)

    def remove_job(self, run: DagsterRun) -> None:
        """Remove the job of a run with its pods, if it is there.

        Raises:
            ClusterAway: The API server does not do it.
            Refused: Its location is bound no more.
        """
        remove_job(self._api_client, self._binding(run).namespace, run.run_id)

    def terminate(self, run_id: str) -> bool:
        """End a run, and say so at once where its container never ran: nobody else would, for minutes.

        Raises:
            ClusterAway: The API server does not answer.
        """
        run = self._instance.get_run_by_id(run_id)
        if run is None or run.is_finished:
            return False
        began = any(map(has_begun, run_pods(self._api_client, self._binding(run).namespace, run_id)))
        ended = bool(super().terminate(run_id))  # type: ignore[no-untyped-call]
        if ended and not began:
            self._instance.report_run_canceled(run, "The run was canceled before its container ran.")
        return ended

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
