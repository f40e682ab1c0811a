"""The names in a code location, and which of them are not its tenant's.

One look for both sides: a code location looks at its own definitions before it serves them, and the platform at what
any location tells, which it need not have looked at. Both are Dagster's snapshot of a repository.

Checked against Dagster 1.13.27 (`RepositorySnap`); `tests/unit/tenancy/test_location_names.py` fails when it moves.
"""

import warnings
from collections.abc import Iterable, Iterator, Mapping

import dagster as dg
from dagster._core.definitions.assets.job.asset_job import is_reserved_asset_job_name
from dagster._core.definitions.partitions.snap import (
    DynamicPartitionsSnap,
    MultiPartitionsSnap,
    PartitionsSnap,
)
from dagster._core.remote_representation.external_data import RepositorySnap
from dagster._core.snap import JobSnap

from orchestrator_tenancy.names import owns_key, owns_name

CONCURRENCY_TAG = "dagster/concurrency_key"
"""Tag of an op that is in a pool: the older way to say so."""

_DAGSTERS_OWN_SENSOR = "default_automation_condition_sensor"


def foreign_names(definitions: dg.Definitions, tenant: str) -> list[str]:
    """Return the names in definitions that are not a tenant's, each with what it names; none twice."""
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", DeprecationWarning
        )  # Dagster's snapshot reads what Dagster deprecates
        snap = RepositorySnap.from_def(definitions.get_repository_def())
    jobs = [data.job for data in snap.job_datas or ()]
    return foreign_in_snap(snap, jobs, tenant)


def foreign_in_snap(snap: RepositorySnap, jobs: Iterable[JobSnap], tenant: str) -> list[str]:
    """Return the names in a repository's snapshot that are not a tenant's.

    Args:
        snap: The repository.
        jobs: Its jobs, which a snapshot may only name.
        tenant: Whose they must be.
    """
    found = [f"{kind} {'/'.join(path)}" for kind, path in _keys(snap) if not owns_key(tenant, path)] + [
        f"{kind} {name}" for kind, name in _named(snap, jobs) if not owns_name(tenant, name)
    ]
    return list(dict.fromkeys(found))


def foreign_in_job(job: JobSnap, tenant: str) -> list[str]:
    """Return the pools and concurrency keys of a job that are not a tenant's."""
    return list(
        dict.fromkeys(f"{kind} {name}" for kind, name in names_in_job(job) if not owns_name(tenant, name))
    )


def _keys(snap: RepositorySnap) -> Iterator[tuple[str, list[str]]]:
    for node in snap.asset_nodes:
        yield "asset", list(node.asset_key.path)
        for edge in node.parent_edges:
            yield "asset", list(edge.parent_asset_key.path)
    for check in snap.asset_check_nodes or ():
        for key in (check.asset_key, *check.additional_asset_keys):
            yield "asset", list(key.path)


def _named(snap: RepositorySnap, jobs: Iterable[JobSnap]) -> Iterator[tuple[str, str]]:
    for schedule in snap.schedules:
        yield "schedule", schedule.name
    for sensor in snap.sensors:
        if sensor.name != _DAGSTERS_OWN_SENSOR:
            yield "sensor", sensor.name
    for node in snap.asset_nodes:
        for pool in sorted(node.pools):
            yield "pool", pool
        yield from _partitions(node.partitions)
    for check in snap.asset_check_nodes or ():
        yield from _partitions(check.partitions_def_snapshot)
    for partition_set in snap.partition_sets:
        yield from _partitions(partition_set.partitions)
    names = [*(data.name for data in snap.job_datas or ()), *(ref.name for ref in snap.job_refs or ())]
    for name in names:
        if not is_reserved_asset_job_name(name):
            yield "job", name
    for job in jobs:
        yield from names_in_job(job)


def names_in_job(job: JobSnap) -> Iterator[tuple[str, str]]:
    """Return the pools and concurrency keys of a job."""
    yield from concurrency_keys(job.tags)
    yield from concurrency_keys(job.run_tags or {})
    for op in job.node_defs_snapshot.op_def_snaps:
        if op.pool is not None:
            yield "pool", op.pool
        yield from concurrency_keys(op.tags)
    for graph in job.node_defs_snapshot.graph_def_snaps:
        yield from concurrency_keys(graph.tags)


def concurrency_keys(tags: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Return the concurrency key that stands in tags."""
    if CONCURRENCY_TAG in tags:
        yield "concurrency key", str(tags[CONCURRENCY_TAG])


def _partitions(snap: PartitionsSnap | None) -> Iterator[tuple[str, str]]:
    if isinstance(snap, DynamicPartitionsSnap):
        yield "dynamic partitions", snap.name
    if isinstance(snap, MultiPartitionsSnap):
        for dimension in snap.partition_dimensions:
            yield from _partitions(dimension.partitions)
