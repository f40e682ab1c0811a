"""Runs of code locations that wait or go on."""

from collections.abc import Collection

import dagster as dg

from orchestrator_tenancy.queue.seam_runs import location_of

_ENDED = (dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED)


def going_runs(instance: dg.DagsterInstance, locations: Collection[str]) -> int:
    """Return how many runs of code locations an instance has that have not ended."""
    going = dg.RunsFilter(statuses=[status for status in dg.DagsterRunStatus if status not in _ENDED])
    return sum(location_of(run) in locations for run in instance.get_runs(going))
