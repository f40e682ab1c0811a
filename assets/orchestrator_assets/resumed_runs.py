"""Runs that go on where others were left waiting: which assets they make, with which config."""

import functools
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any, Final

import dagster as dg

from orchestrator_assets.waiting_steps import WAITING_TAG
from orchestrator_resources.instance_state import open_instance_state
from orchestrator_resources.waiting_assets import WaitingAsset

RESUMES_TAG: Final = "orchestrator/resumes"
"""Tag of a run that goes on with what another left waiting: that run's id."""


def resumed_runs(
    instance: dg.DagsterInstance, assets: Mapping[dg.AssetKey, dg.AssetsDefinition]
) -> Iterator[dg.RunRequest]:
    """Yield a run for each that ended waiting and whose every request is decided.

    Args:
        instance: Whose runs.
        assets: Those of the code location, by key; what others left waiting is theirs.
    """
    with open_instance_state(instance) as state:
        waiting = [found for found in state.waiting_assets.list() if found.resumed_by is None]
        runs = {found.run for found in waiting}
        undecided = {run for run in runs if any(not asked.decision for asked in state.approvals.of_run(run))}
    for (run_id, partition), group in groupby(sorted(waiting, key=_run_of), key=_run_of):
        found = [one for one in group if dg.AssetKey.from_user_string(one.asset) in assets]
        run = instance.get_run_by_id(run_id)
        if found and run is not None and run.is_finished and run_id not in undecided:
            yield _request(instance, run, [one.asset for one in found], partition or None, assets)


def _run_of(found: WaitingAsset) -> tuple[str, str]:
    return found.run, found.partition or ""


def _request(
    instance: dg.DagsterInstance,
    run: dg.DagsterRun,
    waiting: Sequence[str],
    partition: str | None,
    assets: Mapping[dg.AssetKey, dg.AssetsDefinition],
) -> dg.RunRequest:
    keys = resumed_assets(
        waiting=[dg.AssetKey.from_user_string(name) for name in waiting],
        planned=_keys(instance, run.run_id, dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED) & set(assets),
        made=_keys(instance, run.run_id, dg.DagsterEventType.ASSET_MATERIALIZATION),
        parents={key: assets[key].asset_deps[key] for key in assets},
    )
    return dg.RunRequest(
        run_key=f"{run.run_id}/{partition or ''}",
        asset_selection=keys,
        partition_key=partition,
        run_config=config_of(run.run_config, {assets[key].op.name for key in keys}),
        tags={**_own_tags(run.tags), RESUMES_TAG: run.run_id},
    )


def resumed_assets(
    *,
    waiting: Collection[dg.AssetKey],
    planned: Collection[dg.AssetKey],
    made: Collection[dg.AssetKey],
    parents: Mapping[dg.AssetKey, Collection[dg.AssetKey]],
) -> list[dg.AssetKey]:
    """Return what a resumed run makes: what waited, and of its run what was passed over only because of that.

    Args:
        waiting: What waited.
        planned: What the run was to make.
        made: What it made.
        parents: What each asset is made of.
    """
    chosen = set(waiting)

    @functools.cache
    def follows(key: dg.AssetKey) -> bool:
        """Whether an asset comes after one that waited, and the run has what else it needs."""
        if key in chosen:
            return True
        if key not in planned or key in made:
            return False
        needed = [parent for parent in parents.get(key, ()) if parent in planned and parent not in made]
        return bool(needed) and all(follows(parent) for parent in needed)

    return sorted((key for key in {*chosen, *planned} if follows(key)), key=dg.AssetKey.to_user_string)


def config_of(config: Mapping[str, Any], names: Collection[str]) -> dict[str, Any]:
    """Return the part of a run's config that a run of these ops alone may have."""
    ops = {name: given for name, given in config.get("ops", {}).items() if name in names}
    rest = {name: given for name, given in config.items() if name != "ops"}
    return {**rest, **({"ops": ops} if ops else {})}


def _own_tags(tags: Mapping[str, str]) -> dict[str, str]:
    """Return what people tagged a run with: Dagster writes its own tags on each run."""
    return {
        name: value
        for name, value in tags.items()
        if not name.startswith(("dagster/", ".dagster/")) and name != WAITING_TAG
    }


def _keys(instance: dg.DagsterInstance, run_id: str, kind: dg.DagsterEventType) -> set[dg.AssetKey]:
    events = [entry.dagster_event for entry in instance.all_logs(run_id, of_type=kind)]
    return {event.asset_key for event in events if event is not None and event.asset_key is not None}
