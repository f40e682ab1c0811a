"""Seam with Dagster: its limits by pool and by tag, counted with its own counters. Checked against Dagster 1.13.27."""
# Dagster's counters are typed in part:
# pyright: reportUnknownMemberType=false

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from dagster import DagsterInstance, DagsterRun
from dagster._core.op_concurrency_limits_counter import GlobalOpConcurrencyLimitsCounter
from dagster._utils.tags import TagConcurrencyLimitsCounter

from orchestrator_tenancy.queue.runs import WaitingRun
from orchestrator_tenancy.queue.seam_runs import Reading


class StockGates:
    """See `decisions.Gates`: what `concurrency` in `dagster.yaml` says of pools and tags.

    Args:
        instance: Whose pools they are.
        reading: What waits and what goes on.
        paused: Code locations that did not answer a moment ago.
    """

    def __init__(self, instance: DagsterInstance, reading: Reading, paused: Collection[str] = ()) -> None:
        """Count what goes on."""
        self._queued: Mapping[str, DagsterRun] = reading.queued
        self._paused = paused
        concurrency = instance.get_concurrency_config()
        queue = concurrency.run_queue_config
        limits: Sequence[Mapping[str, Any]] = [] if queue is None else queue.tag_concurrency_limits
        self._tags = TagConcurrencyLimitsCounter(limits, [record.dagster_run for record in reading.active])
        self._limited = bool(limits)
        self._pools: GlobalOpConcurrencyLimitsCounter | None = None
        pooled = [run for run in reading.queued.values() if run.run_op_concurrency]
        if queue is not None and queue.should_block_op_concurrency_limited_runs and pooled:
            self._pools = GlobalOpConcurrencyLimitsCounter(
                instance,
                pooled,
                reading.active,
                concurrency_keys=instance.event_log_storage.get_concurrency_keys(),
                pool_limits=instance.event_log_storage.get_pool_limits(),
                slot_count_offset=queue.op_concurrency_slot_buffer,
                pool_granularity=concurrency.pool_config.pool_granularity,
            )

    def closed(self, run: WaitingRun) -> str | None:
        """Return why a run may not start now."""
        if run.location is not None and run.location in self._paused:
            return f"its code location {run.location!r} does not answer; it is tried again soon"
        queued = self._queued[run.id]
        if self._limited and self._tags.is_blocked(queued):
            return "as many runs with its tags go on as may"
        if self._pools is not None and self._pools.is_blocked(queued):
            pools = ", ".join(
                sorted((queued.run_op_concurrency and queued.run_op_concurrency.all_pools) or ())
            )
            return f"of its pools no place is free: {pools}"
        return None

    def passed(self, run: WaitingRun) -> None:
        """Count a run that starts."""
        queued = self._queued[run.id]
        self._tags.update_counters_with_launched_item(queued)
        if self._pools is not None:
            self._pools.update_counters_with_launched_item(queued)
