"""Runs that were about to be started when the daemon ended: whether anybody does them is the launcher's to know."""

from typing import Protocol, runtime_checkable

from dagster import DagsterRun


@runtime_checkable
class KnowsLaunches(Protocol):
    """A run launcher that can tell."""

    def was_launched(self, run: DagsterRun) -> bool:
        """Return whether somebody was asked to do a run."""
        ...
