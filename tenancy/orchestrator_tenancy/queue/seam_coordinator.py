"""Seam with Dagster: the run coordinator of `dagster.yaml`. Checked against Dagster 1.13.27."""
# Dagster's private modules are typed in part:
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

import contextlib
from collections.abc import Mapping
from typing import Any, Final, Self

from dagster import DagsterRun, DagsterRunStatus, Field, Int, QueuedRunCoordinator, RunsFilter
from dagster._core.run_coordinator.base import SubmitRunContext
from dagster._core.storage.tags import MAX_RETRIES_TAG
from dagster._serdes import ConfigurableClassData

from orchestrator_tenancy.queue.runs import Capacity
from orchestrator_tenancy.queue.seam_runs import QueueReader, location_of
from orchestrator_tenancy.queue.shares import Shares
from orchestrator_tenancy.tenant_store import open_tenants
from orchestrator_tenancy.tenants import Tenancy, TenantDirectory

CODE_LOCATION: Final = "dagster/code_location"
"""Tag of a run that the server writes when it makes it, whatever its other tags say."""
_STARTS: Final = 20


class StockDaemon(RuntimeError):
    """Dagster's own daemon was started over a fair queue, whose order it does not know."""

    def __init__(self) -> None:
        """Say what to do."""
        super().__init__(
            "the runs of this instance wait in a fair queue, which dagster-daemon and `dagster dev` would take in"
            " another order and past the tenants' quotas: start `orchestrator daemon` in their place"
        )


class FairRunCoordinator(QueuedRunCoordinator):
    """Takes runs into a queue from which `orchestrator daemon` starts them, fairly over tenants.

    Tenants are those of the control plane, see `tenant_store`; they are opened when the first run is submitted, so that
    processes that submit none, such as runs, need no access to them.

    Args:
        gpus: Of all nodes that runs may use; None sets no limit.
        starts_per_tick: Most runs that are started before what waits is looked at again.
        more: What `QueuedRunCoordinator` takes.
    """

    def __init__(
        self,
        gpus: int | None = None,
        starts_per_tick: int = _STARTS,
        **more: Any,
    ) -> None:
        """Begin with nothing read."""
        self.gpus = gpus
        self.starts_per_tick = starts_per_tick
        self._open = contextlib.ExitStack()
        self._tenants: TenantDirectory | None = None
        self._shares: tuple[Tenancy, Shares] | None = None
        self._reader: QueueReader | None = None
        super().__init__(**more)

    @classmethod
    def config_type(cls) -> dict[str, Any]:
        """Return the configuration of `dagster.yaml`."""
        stock: dict[str, Any] = dict(QueuedRunCoordinator.config_type())  # type: ignore[arg-type]
        return {
            **stock,
            "gpus": Field(Int, is_required=False),
            "starts_per_tick": Field(Int, is_required=False),
        }

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData, config_value: Mapping[str, Any]) -> Self:
        """Return one of a configuration."""
        return cls(inst_data=inst_data, **config_value)

    @property
    def dequeue_interval_seconds(self) -> int:
        """Refuse Dagster's own daemon, which asks for this when it starts, before it starts anything.

        Raises:
            StockDaemon: Always; see `seconds_between_ticks`.
        """
        raise StockDaemon

    @property
    def seconds_between_ticks(self) -> int:
        """How often what waits is looked at."""
        return self._dequeue_interval_seconds

    def dispose(self) -> None:
        """Let the tenants go."""
        self._open.close()
        self._tenants = None

    def use(self, tenants: TenantDirectory) -> None:
        """Read tenants from a directory that this process has open already, in place of one of its own."""
        self._tenants = tenants

    def shares(self) -> Shares:
        """Return what every flow may have now.

        Raises:
            AgentError: `invalid_input` when it is not said where tenants are, `state_unavailable` when they are away.
        """
        if self._tenants is None:
            self._tenants = self._open.enter_context(open_tenants())
        tenancy = self._tenants.tenancy()
        if self._shares is None or self._shares[0] is not tenancy:
            self._shares = (tenancy, Shares(tenancy))
        return self._shares[1]

    def capacity(self) -> Capacity:
        """Return what the platform has for all runs."""
        queue = self._instance.get_concurrency_config().run_queue_config
        most = -1 if queue is None else queue.max_concurrent_runs
        return Capacity(runs=None if most < 0 else most, gpus=self.gpus)

    def submit_run(self, context: SubmitRunContext) -> DagsterRun:
        """Take a run into the queue, or end it at once where its tenant may have no further one.

        Raises:
            AgentError: As `shares`.
        """
        run = context.dagster_run
        why = self._refusal(run) if run.status is DagsterRunStatus.NOT_STARTED else None
        if why is None:
            return super().submit_run(context)
        # the same would be refused again
        self._instance.add_run_tags(run.run_id, {MAX_RETRIES_TAG: "0"})
        self._instance.report_run_failed(run, f"The run was refused: {why}.")
        return self._instance.get_run_by_id(run.run_id) or run

    def _refusal(self, run: DagsterRun) -> str | None:
        shares, location = self.shares(), location_of(run)
        flow = shares.flow(location)
        share = shares.share(flow)
        if share.suspended:
            return f"{share.title} is suspended: ask the operator"
        if share.gpus is not None:
            self._reader = self._reader or QueueReader(self._instance)
            if (gpus := self._reader.gpus(run)) > share.gpus:
                return f"it needs {gpus} GPUs, and {share.title} may have {share.gpus}: ask the operator for more"
        if share.queued_runs is None:
            return None
        queued = self._instance.get_runs_count(
            RunsFilter(
                statuses=[DagsterRunStatus.QUEUED], tags={CODE_LOCATION: shares.locations(flow, location)}
            )
        )
        if queued < share.queued_runs:
            return None
        return f"{share.title} has {queued} runs waiting of its {share.queued_runs}: submit it when some have started"
