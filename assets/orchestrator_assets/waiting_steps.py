"""A step whose executions wait for people: it ends, with what it asks in the UI, and a later run goes on from there."""

from collections.abc import Mapping, Sequence
from typing import Final

import dagster as dg

from orchestrator_assets.waiting_metadata import SHOWN, WAITS, Launchpad, Seal, told, waiting_metadata
from orchestrator_resources.approvals import Asker, Request
from orchestrator_resources.execution_batches import Item, Row
from orchestrator_resources.run_state import RunState
from orchestrator_resources.waiting_assets import WaitingAsset
from orchestrator_runtimes.errors import AgentError, ErrorCode

WAITING_TAG: Final = "orchestrator/waiting"
"""Tag of a run that ended with executions waiting: how many decisions they wait for."""


class WaitingStep:
    """One step of an agent asset, which may be left waiting and gone on with.

    Args:
        context: Of the step.
        state: What runs leave for later ones.
    """

    def __init__(self, context: dg.AssetExecutionContext, state: RunState) -> None:
        """Find out which executions this step goes on with.

        Raises:
            AgentError: `invalid_input` when another run goes on with them now.
        """
        self._context = context
        self._approvals = state.approvals
        self._waiting = state.waiting_assets
        self._asset = context.assets_def.key.to_user_string()
        self._partition = context.partition_key if context.has_partition_key else None
        self.root = self._found_root()

    def askers(self, items: Sequence[Item], seconds: float) -> Mapping[str, Asker]:
        """Return who asks, by execution; `seconds` is how long a request waits."""
        return {
            item.execution: Asker(
                asset=self._asset,
                partition=self._partition,
                item=item.key,
                run=self._context.run.run_id,
                seconds=seconds,
            )
            for item in items
        }

    def leave(self, rows: Sequence[Row], seal: Seal | None = None) -> None:
        """Note that the step ends with some of its rows waiting, and show what they ask.

        Args:
            rows: Of every execution.
            seal: Makes of what they ask what may stand in Dagster; None shows it.
        """
        context = self._context
        requests = [request for row in rows for request in row.waiting]
        self._waiting.wait(self._asset, self._partition, root=self.root, run=context.run.run_id)
        context.log_event(
            dg.AssetObservation(
                asset_key=context.assets_def.key,
                partition=self._partition,
                description=WAITS,
                metadata=waiting_metadata(rows, requests, Launchpad.found(context), seal),
            )
        )
        asked = {request.id for request in self._approvals.of_run(context.run.run_id) if not request.decision}
        context.instance.add_run_tags(context.run.run_id, {WAITING_TAG: str(len(asked))})
        for request in requests[:SHOWN]:
            what = told(request) if seal is None else request.asker.item
            context.log.info(f"waits for a decision: {what}; orchestrator approvals show {request.id}")

    def decided(self, items: Sequence[Item]) -> Sequence[Request]:
        """Return what the step's executions asked and was decided."""
        return self._approvals.of_executions([item.execution for item in items])

    def _found_root(self) -> str:
        run = self._context.run
        own: str = run.root_run_id or run.run_id
        found = self._waiting.find(self._asset, self._partition)
        if found is None:
            return own
        if self._stored(found):
            self._waiting.end(self._asset, self._partition)
            return own
        if found.resumed_by not in (None, run.run_id):
            other = self._context.instance.get_run_by_id(str(found.resumed_by))
            if other is not None and not other.is_finished:
                raise AgentError(
                    ErrorCode.INVALID_INPUT,
                    f"the run {found.resumed_by} goes on with what waits of {self._asset!r}: wait until it has ended",
                )
        self._waiting.resume(self._asset, self._partition, run.run_id)
        self._context.log.info(f"goes on with what the run {found.run} left waiting")
        return found.root

    def _stored(self, found: WaitingAsset) -> bool:
        """Whether the value is there since, from a run that ended before it could say so."""
        if found.resumed_by is None:
            return False
        partitions = [found.partition] if found.partition is not None else None
        records = dg.AssetRecordsFilter(asset_key=self._context.assets_def.key, asset_partitions=partitions)
        latest = self._context.instance.fetch_materializations(records, limit=1).records
        return bool(latest) and latest[0].run_id == found.resumed_by
