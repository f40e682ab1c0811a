"""Runs whose start was lost: who launched them ended before making their job, or a node did not take its pod."""

from collections.abc import Callable, Collection, Mapping
from typing import Final

from dagster import (
    DagsterEvent,
    DagsterEventType,
    DagsterInstance,
    DagsterRun,
    DagsterRunStatus,
    QueuedRunCoordinator,
    RunsFilter,
)

from orchestrator_cluster.lost_pods import Manifest
from orchestrator_cluster.pods import Refused
from orchestrator_cluster.run_health import health_of

LOST_SECONDS: Final = 30.0
"""Without a job, while jobs can be listed, before a start counts as lost; a daemon needs less than one."""

TRIES: Final = 3
"""How often one run is queued: what ends its daemon three times would do it again."""


PlaceOf = Callable[[DagsterRun], tuple[str, str]]
"""Returns in which namespace a run's job is to be, and its name."""


class LostStarts:
    """Queues runs again that are said to start and have no job; a run's job has its name, so none is started twice.

    Args:
        instance: Whose runs.
        clock: Seconds that only grow.
    """

    def __init__(self, instance: DagsterInstance, clock: Callable[[], float]) -> None:
        """Begin with nothing seen."""
        self._instance = instance
        self._clock = clock
        self._since = dict[str, float]()  # first seen without a job, by the run's id

    def overdue(self, jobs: Mapping[str, Collection[str]], place_of: PlaceOf) -> list[str]:
        """Look once, and return the ids of the runs that have started for too long without a job.

        Args:
            jobs: Names of the jobs that have not succeeded, by namespace; where none could be listed, it is missing.
            place_of: Says where a run's job is to be.
        """
        now, missing = self._clock(), dict[str, float]()
        for run in self._instance.get_runs(RunsFilter(statuses=[DagsterRunStatus.STARTING])):
            try:
                namespace, name = place_of(run)
            except Refused:
                continue  # it was never this launcher's
            if namespace in jobs and name not in jobs[namespace]:
                missing[run.run_id] = self._since.get(run.run_id, now)
        self._since = missing
        return [run_id for run_id, since in missing.items() if now >= since + LOST_SECONDS]

    def settle(
        self,
        run_id: str,
        place_of: PlaceOf,
        job_of: Callable[[str, str], Manifest | None],
        take_back: Callable[[str], bool],
    ) -> None:
        """Queue a run again, or end it.

        Args:
            run_id: Of one that is overdue.
            place_of: Says where a run's job is to be.
            job_of: Asks for one job, by namespace and name.
            take_back: Lets no pod that waits take it up any more, by its id; returns False where one has.

        Raises:
            ClusterAway: The API server does not tell of the job.
        """
        run = self._instance.get_run_by_id(run_id)
        if run is None or run.status is not DagsterRunStatus.STARTING:
            return
        namespace, name = place_of(run)
        job = job_of(namespace, name)
        if job is not None:
            if health_of(run, name, job).status.name != "RUNNING":
                self._instance.report_run_failed(
                    run, f"The run cannot go on: its job {name!r} is over, and the run never began."
                )
            return
        if not take_back(run_id):
            return
        queued = list(self._instance.all_logs(run_id, of_type=DagsterEventType.RUN_ENQUEUED))
        if len(queued) >= TRIES or not isinstance(self._instance.run_coordinator, QueuedRunCoordinator):
            self._instance.report_run_failed(
                run,
                f"The run cannot go on: its job was lost {max(len(queued), 1)} times before it began.",
            )
            return
        self._instance.report_engine_event(
            "The run's start was lost: its job was not made, or no node took it. It is queued again.",
            run,
            cls=type(self),
        )
        self._instance.report_dagster_event(DagsterEvent.job_enqueue(run), run_id)
