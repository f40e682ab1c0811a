"""Where an output comes from, and what a bundle touched: by the pointers that Dagster keeps with materializations."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import dagster as dg

from orchestrator_runtimes.errors import AgentError, ErrorCode

MOST: Final = 1_000
"""Outputs of one chain; a chain that is longer ends there."""

_POINTER: Final = "dagster/input_event_pointer/"
_VERSION: Final = "dagster/data_version"
_PAGE: Final = 500


@dataclass(frozen=True, kw_only=True)
class Output:
    """One materialization.

    Attributes:
        event: Number of it in Dagster's event log.
        asset: Key, its parts joined by `/`.
        partition: None when the asset has none.
        run: Id of the run; empty for an event that no run made.
        at: When, in UTC.
        version: Data version; empty when it has none.
        bundle: Name and version of the bundle that made it; None when none did.
        publish: Reference of the publish: of the bundle that made it, or that it tells of; None for other assets.
        publisher: Who signed that.
        inputs: Events of what it was made of, by asset; only those that Dagster knows.
    """

    event: int
    asset: str
    partition: str | None
    run: str
    at: datetime
    version: str
    bundle: str | None
    publish: str | None
    publisher: str | None
    inputs: Mapping[str, int]


@dataclass(frozen=True, kw_only=True)
class Chain:
    """An output and what it was made of; `inputs` is empty where nothing further is known."""

    output: Output
    inputs: Sequence["Chain"] = ()


def newest(instance: dg.DagsterInstance, asset: str, run: str | None = None) -> Output:
    """Return an output: the newest of an asset, or that of one run.

    Args:
        instance: Where it is.
        asset: Key, its parts joined by `/`.
        run: Id, or how it begins; None takes the newest.

    Raises:
        AgentError: `invalid_input` when there is none.
    """
    for output in outputs_of(instance, dg.AssetKey.from_user_string(asset)):
        if run is None or output.run.startswith(run):
            return output
    where = "" if run is None else f" by a run {run!r}"
    raise AgentError(
        ErrorCode.INVALID_INPUT,
        f"the asset {asset!r} was never materialized{where}: look at its key, or run it",
    )


def chain_of(instance: dg.DagsterInstance, output: Output) -> Chain:
    """Return what an output was made of, back to what nothing is known of."""
    left = [MOST]

    def follow(one: Output) -> Chain:
        found: list[Chain] = []
        for asset, event in sorted(one.inputs.items()):
            left[0] -= 1
            if left[0] < 0:
                break
            key = dg.AssetKey.from_user_string(asset)
            records = instance.fetch_materializations(
                dg.AssetRecordsFilter(asset_key=key, storage_ids=[event]), limit=1
            ).records
            found += [follow(_output(record)) for record in records]
        return Chain(output=one, inputs=found)

    return follow(output)


def touched(instance: dg.DagsterInstance, name: str, version: str | None = None) -> list[Output]:
    """Return every output that a bundle made, and all that was made of these, the oldest first.

    Args:
        instance: Where they are; all of its materializations are looked through.
        name: Of the bundle.
        version: Of it; None takes all.
    """
    known = {
        output.event: output for key in instance.get_asset_keys() for output in outputs_of(instance, key)
    }
    by = {event for event, output in known.items() if _is_of(output, name, version)}
    for event in sorted(known):  # what is made of something comes after it
        if by & set(known[event].inputs.values()):
            by.add(event)
    return [known[event] for event in sorted(by)]


def outputs_of(instance: dg.DagsterInstance, key: dg.AssetKey) -> Iterator[Output]:
    """Return the outputs of an asset, the newest first."""
    cursor: str | None = None
    while True:
        page = instance.fetch_materializations(key, limit=_PAGE, cursor=cursor)
        yield from map(_output, page.records)
        if not page.has_more:
            return
        cursor = page.cursor


def _is_of(output: Output, name: str, version: str | None) -> bool:
    return output.bundle is not None and (
        output.bundle == f"{name} {version}" if version else output.bundle.startswith(f"{name} ")
    )


def _output(record: dg.EventLogRecord) -> Output:
    made = record.asset_materialization
    assert made is not None  # only such are asked for
    tags: Mapping[str, str] = made.tags or {}
    told = {
        name: str(value.value)
        for name, value in made.metadata.items()
        if isinstance(value, dg.TextMetadataValue)
    }
    return Output(
        event=record.storage_id,
        asset=made.asset_key.to_user_string(),
        partition=made.partition,
        run=record.run_id,
        at=datetime.fromtimestamp(record.timestamp, UTC),
        version=tags.get(_VERSION, ""),
        bundle=told.get("bundle"),
        publish=told.get("publish"),
        publisher=told.get("publisher"),
        inputs={
            name.removeprefix(_POINTER): int(event)
            for name, event in tags.items()
            if name.startswith(_POINTER) and event.isdecimal()
        },
    )


def as_json(chain: Chain) -> dict[str, Any]:
    """Return a chain for programs."""
    output = chain.output
    return {
        "asset": output.asset,
        "partition": output.partition,
        "run": output.run,
        "at": output.at.isoformat(),
        "data_version": output.version,
        "bundle": output.bundle,
        "publish": output.publish,
        "publisher": output.publisher,
        "inputs": [as_json(one) for one in chain.inputs],
    }
