"""Tags of runs that say where a run is, and what else a run tells of itself."""

from typing import Final

from dagster import DagsterRun

NAMESPACE_TAG: Final = "orchestrator/namespace"
"""Where its pod was made. The run launcher sets it, whatever stood there."""


def location_of(run: DagsterRun) -> str | None:
    """Return the name of a run's code location; None where it has none."""
    origin = run.remote_job_origin
    return None if origin is None else origin.repository_origin.code_location_origin.location_name
