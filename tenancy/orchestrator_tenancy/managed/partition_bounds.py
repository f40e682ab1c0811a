"""Partitions that the web server and the daemon can count: they do so for every tenant, in one process."""

from datetime import UTC, datetime
from typing import Final

import dagster as dg

from orchestrator_tenancy.managed.refusals import NotManaged
from orchestrator_tenancy.names import stays_inside

PARTITIONS: Final = 100_000
"""Most of an asset: 11 years of hours."""

_LOOKED_AT: Final = 300


def check_partitions(partitions: dg.PartitionsDefinition[str] | None) -> None:
    """Refuse partitions that are too many, without counting them all, and keys that would lead out of a folder.

    Raises:
        NotManaged: There are more than `PARTITIONS`, up to now or their end, going by the first few hundred.
    """
    if isinstance(partitions, dg.StaticPartitionsDefinition):
        keys = partitions.get_partition_keys()
        _refuse(len(keys))
        for key in keys:
            _refuse_path(key)
    if isinstance(partitions, dg.TimeWindowPartitionsDefinition):
        _refuse_path(partitions.fmt)
        until = datetime.now(UTC) if partitions.end is None else partitions.end
        begin = reached = partitions.start
        for seen in range(1, _LOOKED_AT + 1):
            window = partitions.get_next_partition_window(reached, respect_bounds=False)
            if window is None or window.end >= until:
                return
            reached = window.end
            if seen == _LOOKED_AT:
                _refuse(int(seen * ((until - begin) / (reached - begin))))


def _refuse_path(key: str) -> None:
    """Refuse a key that is no path below the asset's folder, where values are stored by their partitions."""
    if not stays_inside(key.split("/")):
        raise NotManaged(
            f"asset.partitions_def: {key[:80]!r} is no partition: between slashes is something, and neither . nor .."
        )


def _refuse(count: int) -> None:
    if count > PARTITIONS:
        raise NotManaged(
            f"asset.partitions_def: has about {count} partitions, and {PARTITIONS} are allowed: begin later, or make"
            " them longer"
        )
