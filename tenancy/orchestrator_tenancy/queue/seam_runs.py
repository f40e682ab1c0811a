"""Seam with Dagster: what waits and what runs, read from its run storage. Checked against Dagster 1.13.27.

Needs of it: `DagsterRun`, its snapshots' step tags, and `daemon_cursor_storage`, which keeps a text for a daemon.
"""
# Dagster's private modules are typed in part:
# pyright: reportUnknownMemberType=false

import functools
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from dagster import DagsterInstance, DagsterRun, DagsterRunStatus, RunRecord, RunsFilter
from dagster._core.storage.dagster_run import ACTIVE_RUN_STATUSES, FINISHED_STATUSES
from dagster._core.storage.tags import PRIORITY_TAG

from orchestrator_resources.agent_needs import BadNeed, gpus_of, needs_of
from orchestrator_tenancy.queue.runs import StartedRun, WaitingRun
from orchestrator_tenancy.queue.shares import Shares
from orchestrator_tenancy.queue.turns import Turns, read, written

TURNS: Final = "orchestrator/queue/turns"
"""Where turns are written down: a key of the storage that keeps the runs, so that they are lost or kept together."""

_MANY: Final = 1_000
"""More runs than these are read with all others of their status, rather than by their ids."""
_LATE_SECONDS: Final = 60.0
"""By how much a run's clock may be behind, or its last words late."""
_PLANS: Final = 8_192


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What is in the storage now.

    Attributes:
        waiting: Runs of each flow, in their order.
        started: Runs that go on, and those that ended lately.
        queued: Of Dagster, by id: all that wait.
        active: Of Dagster: all that go on.
    """

    waiting: Mapping[str, Sequence[WaitingRun]]
    started: Sequence[StartedRun]
    queued: Mapping[str, DagsterRun]
    active: Sequence[RunRecord]


@dataclass(frozen=True, slots=True)
class _Queued:
    run: DagsterRun
    number: int
    since: float
    gpus: int


class QueueReader:
    """Reads again and again; remembers runs that wait, which do not change, to read each of them only once.

    Args:
        instance: Whose runs they are.
        most: Of the runs that wait, how many are read for the first time at once, the oldest first; None reads all.
    """

    def __init__(self, instance: DagsterInstance, most: int | None = None) -> None:
        """Begin with nothing read."""
        self._instance = instance
        self._most = most
        self._queued = dict[str, _Queued]()
        self._plan_gpus = functools.lru_cache(_PLANS)(self._gpus_of_plan)

    def read(self, shares: Shares, since: float) -> Reading:
        """Return what waits, what goes on, and what ended since a time; 0 for nothing of that."""
        # first what goes on: a run that starts meanwhile is seen as both, or as what it was
        active = self._instance.get_run_records(RunsFilter(statuses=ACTIVE_RUN_STATUSES))
        self._look()
        going = {record.dagster_run.run_id for record in active}
        flows = dict[str, list[WaitingRun]]()
        for name, queued in self._queued.items():
            if name not in going:
                run = self._waiting(queued, shares)
                flows.setdefault(run.flow, []).append(run)
        for runs in flows.values():
            runs.sort(key=lambda run: run.place)
        ended: Sequence[RunRecord] = self._ended(since) if since else ()
        return Reading(
            waiting=flows,
            started=[self._started(record, shares) for record in (*active, *ended)],
            queued={name: queued.run for name, queued in self._queued.items()},
            active=active,
        )

    def turns(self) -> Turns:
        """Return what was written down."""
        return read(self._instance.daemon_cursor_storage.get_cursor_values({TURNS}).get(TURNS))

    def write_turns(self, turns: Turns) -> None:
        """Write down what the next look needs."""
        self._instance.daemon_cursor_storage.set_cursor_values({TURNS: written(turns)})

    def gpus(self, run: DagsterRun) -> int:
        """Return how many GPUs a run needs, by its plan; none where its tags are none, for it will be refused."""
        if run.execution_plan_snapshot_id is None:
            return 0
        wanted = None if run.step_keys_to_execute is None else frozenset(run.step_keys_to_execute)
        return self._plan_gpus(run.execution_plan_snapshot_id, wanted)

    def _look(self) -> None:
        waits = RunsFilter(statuses=[DagsterRunStatus.QUEUED])
        names = dict.fromkeys(self._instance.get_run_ids(waits))
        for name in self._queued.keys() - names.keys():
            del self._queued[name]
        new = [name for name in names if name not in self._queued]
        if self._most is not None and len(new) > self._most:
            oldest = new[-self._most :]  # ids come with the latest first
            self._remember(
                self._instance.get_run_records(RunsFilter(run_ids=oldest, statuses=waits.statuses))
            )
        elif len(new) > _MANY:
            self._remember(self._instance.get_run_records(waits))
        elif new:
            self._remember(self._instance.get_run_records(RunsFilter(run_ids=new, statuses=waits.statuses)))

    def _remember(self, records: Iterable[RunRecord]) -> None:
        for record in records:
            run = record.dagster_run
            self._queued[run.run_id] = _Queued(
                # the largest part of it, of no use here
                run=run._replace(run_config={}),  # pyright: ignore[reportPrivateUsage] - of any named tuple
                number=record.storage_id,
                since=record.create_timestamp.timestamp(),
                gpus=self.gpus(run),
            )

    def _waiting(self, queued: _Queued, shares: Shares) -> WaitingRun:
        location = location_of(queued.run)
        return WaitingRun(
            id=queued.run.run_id,
            number=queued.number,
            flow=shares.flow(location),
            location=location,
            since=queued.since,
            priority=_priority(queued.run),
            gpus=queued.gpus,
        )

    def _started(self, record: RunRecord, shares: Shares) -> StartedRun:
        run = record.dagster_run
        goes_on = run.status not in FINISHED_STATUSES
        begin = record.start_time
        if begin is None and goes_on:
            begin = record.update_timestamp.timestamp()
        return StartedRun(
            id=run.run_id,
            flow=shares.flow(location_of(run)),
            gpus=self.gpus(run),
            begin=begin,
            end=None if goes_on else record.end_time or record.update_timestamp.timestamp(),
        )

    def _ended(self, since: float) -> Sequence[RunRecord]:
        after = datetime.fromtimestamp(since, UTC) - timedelta(seconds=_LATE_SECONDS)
        found = self._instance.get_run_records(RunsFilter(statuses=FINISHED_STATUSES, updated_after=after))
        return [record for record in found if (record.end_time or since) >= since]

    def _gpus_of_plan(self, snapshot: str, wanted: Collection[str] | None) -> int:
        plan = self._instance.get_execution_plan_snapshot(snapshot)
        keys = plan.step_keys_to_execute if wanted is None else wanted
        chosen = set(keys)
        try:
            return gpus_of(needs_of((step.key, step.tags or {}) for step in plan.steps if step.key in chosen))
        except BadNeed:
            return 0


def location_of(run: DagsterRun) -> str | None:
    """Return the code location of a run: by its origin, which the server wrote and nobody's tags change."""
    origin = run.remote_job_origin
    return None if origin is None else origin.repository_origin.code_location_origin.location_name


def _priority(run: DagsterRun) -> int:
    try:
        return int(run.tags.get(PRIORITY_TAG, "0"))
    except ValueError:
        return 0
