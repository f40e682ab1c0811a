"""Runs of code locations as rows: what a tenant takes along when it leaves."""
# Dagster is typed in part:
# pyright: reportUnknownMemberType=false

from collections.abc import Collection, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Final

import dagster as dg

from orchestrator_tenancy.queue.seam_coordinator import CODE_LOCATION
from orchestrator_tenancy.queue.seam_runs import location_of

_AT_ONCE: Final = 500


def run_rows(instance: dg.DagsterInstance, locations: Collection[str]) -> Iterator[Mapping[str, Any]]:
    """Yield each run that an instance has of code locations, the latest first; times are ISO 8601 in UTC, or None."""
    if not locations:  # no tags would be any
        return
    theirs, cursor = dg.RunsFilter(tags={CODE_LOCATION: sorted(locations)}), None
    while True:
        records = instance.get_run_records(theirs, limit=_AT_ONCE, cursor=cursor)
        for record in records:
            run = record.dagster_run
            if location_of(run) in locations:
                yield {
                    "run": run.run_id,
                    "location": location_of(run),
                    "job": run.job_name,
                    "status": run.status.value,
                    "created": record.create_timestamp.astimezone(UTC).isoformat(),
                    "started": _moment(record.start_time),
                    "ended": _moment(record.end_time),
                    "tags": dict(run.tags),
                }
        if len(records) < _AT_ONCE:
            return
        cursor = records[-1].dagster_run.run_id


def _moment(seconds: float | None) -> str | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).isoformat()
