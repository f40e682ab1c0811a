"""The names in what a code location tells while it works: plans of runs, and what its sensors and schedules want.

The platform acts on them with its own rights: it writes events, adds partitions, and makes runs.

Checked against Dagster 1.13.27; `tests/integration/test_checked_locations.py` fails when it moves.
"""
# Dagster's own types are partly unknown:
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from collections.abc import Iterable, Iterator, Sequence

import dagster as dg
from dagster._core.definitions.run_request import RunRequest
from dagster._core.definitions.sensor_definition import SensorExecutionData
from dagster._core.snap import ExecutionPlanSnapshot

from orchestrator_tenancy.location_names import concurrency_keys
from orchestrator_tenancy.names import owns_key, owns_name


def foreign_in_plan(plan: ExecutionPlanSnapshot, tenant: str) -> list[str]:
    """Return the names in the plan of a run that are not a tenant's."""
    keys = list[dg.AssetKey]()
    named = list[tuple[str, str]]()
    for step in plan.steps:
        if step.pool is not None:
            named.append(("pool", step.pool))
        named += concurrency_keys(step.tags or {})
        for output in step.outputs:
            if output.properties is not None:
                keys += _keys_of(output.properties.asset_key, output.properties.asset_check_key)
    return _foreign(keys, named, tenant)


def foreign_in_tick(told: SensorExecutionData, tenant: str) -> list[str]:
    """Return the names in what a sensor wants that are not a tenant's."""
    keys = list[dg.AssetKey]()
    for event in told.asset_events:
        keys.append(event.asset_key)
    for evaluation in told.automation_condition_evaluations:
        keys += _keys_of(evaluation.key)
    named = [
        ("dynamic partitions", one.partitions_def_name) for one in told.dynamic_partitions_requests or ()
    ]
    return [*_foreign(keys, named, tenant), *foreign_in_requests(told.run_requests or (), tenant)]


def foreign_in_requests(requests: Sequence[RunRequest], tenant: str) -> list[str]:
    """Return the names in requests for runs that are not a tenant's."""
    keys = list[dg.AssetKey]()
    named = list[tuple[str, str]]()
    for request in requests:
        keys += request.asset_selection or ()
        keys += [check.asset_key for check in request.asset_check_keys or ()]
        named += concurrency_keys(request.tags)
    return _foreign(keys, named, tenant)


def _keys_of(*keys: object) -> Iterator[dg.AssetKey]:
    for key in keys:
        if isinstance(key, dg.AssetKey):
            yield key
        elif isinstance(key, dg.AssetCheckKey):
            yield key.asset_key


def _foreign(keys: Iterable[dg.AssetKey], named: Iterable[tuple[str, str]], tenant: str) -> list[str]:
    found = [f"asset {'/'.join(key.path)}" for key in keys if not owns_key(tenant, key.path)]
    found += [f"{kind} {name}" for kind, name in named if not owns_name(tenant, name)]
    return list(dict.fromkeys(found))
