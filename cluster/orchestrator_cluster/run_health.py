"""Whether a run's job can still do the run, in Dagster's own words; its types have no public name (1.13.27)."""

from typing import Final

from dagster import DagsterRun, DagsterRunStatus
from dagster._core.launcher import CheckRunHealthResult, WorkerStatus

from orchestrator_cluster.lost_pods import Manifest

_NEEDS_POD: Final = (DagsterRunStatus.STARTED, DagsterRunStatus.CANCELING)


def works(run: DagsterRun) -> bool:
    """Return whether a run is neither over nor being ended by somebody."""
    return not run.is_finished and run.status is not DagsterRunStatus.CANCELING


def health_of(run: DagsterRun, name: str, job: Manifest | None) -> CheckRunHealthResult:
    """Return how a run's job is.

    Args:
        run: As it was before the job was asked for.
        name: Of the job.
        job: As the API server tells it; None where it has none of this name.
    """
    if job is None:
        return CheckRunHealthResult(
            WorkerStatus.NOT_FOUND, f"the job {name!r} is there no more: somebody removed it"
        )
    status: Manifest = job.get("status", {})
    ended = bool(status.get("succeeded") or status.get("failed")) and not status.get("active")
    if ended and run.status in _NEEDS_POD:
        return CheckRunHealthResult(WorkerStatus.FAILED, f"the job {name!r} is over, and the run is not")
    if status.get("succeeded"):
        return CheckRunHealthResult(WorkerStatus.SUCCESS)
    if ended:
        return CheckRunHealthResult(WorkerStatus.FAILED, f"the job {name!r} has failed")
    return CheckRunHealthResult(WorkerStatus.RUNNING)


def unknown_health(why: str) -> CheckRunHealthResult:
    """Return how a run is whose job nobody can ask for: it runs, since Dagster ends a run whose health is unknown."""
    return CheckRunHealthResult(WorkerStatus.RUNNING, f"not known now: {why}")
