"""A publish becomes a run: exactly one, whatever is told twice, comes late or is cut off.

Laws: a run is named by its publish (`run_key`), so one that is asked for again is not made again. The cursor is stored
with the run requests of the same tick, after them. A publish that is refused is told once, with its reason.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

import dagster as dg

from orchestrator_marketplace.manifests import Manifest
from orchestrator_marketplace.names import parse_version
from orchestrator_marketplace.publishes import Look, Publish, Publishes
from orchestrator_marketplace.refusals import BundleRefused, Refusal
from orchestrator_runtimes.codec import InvalidMessage, decode, encode
from orchestrator_runtimes.errors import AgentError
from orchestrator_runtimes.json_values import NotJson, dump, parse
from orchestrator_sensors.bundle_sources import BundleSource
from orchestrator_sensors.catalogue import Catalogued, catalogue_key, catalogued, taken_event, withdrawn_event
from orchestrator_sensors.published_agents import BUNDLE_TAG

LOOK_SECONDS: Final = 5
"""Between two looks: the shortest that Dagster's daemon keeps."""


@dataclass(frozen=True, kw_only=True)
class Seen:
    """A sensor's cursor.

    Attributes:
        versions: Digest of each version that was seen, taken or refused.
    """

    versions: Mapping[str, str] = field(default_factory=dict[str, str])


def read_cursor(text: str | None) -> Seen | None:
    """Return what a cursor says; None before the first look, and where somebody wrote something else there."""
    try:
        return None if text is None else decode(Seen, parse(text.encode()), "", strict=True)
    except (NotJson, InvalidMessage, UnicodeEncodeError):
        return None


def written_cursor(seen: Seen) -> str:
    """Return what `read_cursor` reads."""
    return dump(encode(seen)).decode()


@dataclass(frozen=True, kw_only=True)
class Tick:
    """What one look comes to.

    Attributes:
        seen: What is seen now; None where nothing could be, so that the next look is the first.
        publishes: Those that were taken, in their order.
        events: What the catalogue is told.
        refused: Why others were not taken, a line each.
        waiting: Why the look ended before all was seen; the next one goes on there. None when it did not.
    """

    seen: Seen | None
    publishes: tuple[Publish, ...] = ()
    events: tuple[dg.AssetMaterialization, ...] = ()
    refused: tuple[str, ...] = ()
    waiting: str | None = None


def tick(
    source: BundleSource, publishes: Publishes, key: dg.AssetKey, seen: Seen | None, known: Catalogued
) -> Tick:
    """Look once, and take what may be taken.

    Args:
        source: Of the asset.
        publishes: Where they are learned.
        key: Of the bundle's asset.
        seen: What was seen; None at the first look, which takes the newest version alone.
        known: What was taken.
    """
    try:
        look = publishes.look(None if seen is None else seen.versions)
    except AgentError as error:
        return Tick(seen=seen, waiting=error.message)
    versions = {**({} if seen is None else seen.versions), **dict.fromkeys(look.older, "")}
    done = Tick(seen=Seen(versions=versions))
    gone = [
        version for version in look.withdrawn if version in known.taken and version not in known.withdrawn
    ]
    if gone:
        known, event = withdrawn_event(key, known, gone)
        done = replace(done, events=(event,))
    wanted = _wanted(source, look, first=seen is None)
    for publish in look.publishes:
        if publish in wanted:
            try:
                manifest, publisher = _taken(source, publish, known)
            except BundleRefused as error:
                done = replace(done, refused=(*done.refused, error.message))
            except AgentError as error:
                return replace(done, seen=None if seen is None else done.seen, waiting=error.message)
            else:
                known, event = taken_event(key, known, publish, manifest, publisher)
                done = replace(done, events=(*done.events, event), publishes=(*done.publishes, publish))
        versions = {**versions, publish.version: publish.digest}
        done = replace(done, seen=Seen(versions=versions))
    return done


def _wanted(source: BundleSource, look: Look, *, first: bool) -> list[Publish]:
    """Return the publishes that are for the asset; at the first look the newest alone, since the others are history."""
    allowed = [publish for publish in look.publishes if source.allows(publish.version)]
    return allowed[-1:] if first else allowed


def _taken(source: BundleSource, publish: Publish, known: Catalogued) -> tuple[Manifest, str]:
    """Install a publish; raise `BundleRefused` when it may not run."""
    newest = max(known.taken, key=parse_version, default=None)
    if newest is not None and parse_version(publish.version) < parse_version(newest):
        raise BundleRefused(
            Refusal.ROLLED_BACK, f"{source.name} {publish.version} is lower than {newest}, which was here"
        )
    here = source.installed(publish.reference)
    return here.manifest, here.publisher


def publish_sensor(
    name: str, source: BundleSource, publishes: Publishes, asset: dg.AssetKey
) -> dg.SensorDefinition:
    """Make the sensor of a published asset.

    Args:
        name: Of the sensor.
        source: Of the asset.
        publishes: Where they are learned.
        asset: Key of the asset, which is run for each publish.
    """
    key = catalogue_key(source.name, asset)

    @dg.sensor(  # pyright: ignore[reportUnknownMemberType]  # Dagster's own annotation
        name=name,
        target=dg.AssetSelection.assets(asset),
        minimum_interval_seconds=LOOK_SECONDS,
        description=f"Runs {asset.to_user_string()} for each publish of {source.name} at {source.place}.",
    )
    def look(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        known = catalogued(context.instance, key)
        done = tick(source, publishes, key, read_cursor(context.cursor), known)
        for line in done.refused:
            context.log.warning(f"not taken: {line}")
        if done.waiting is not None:
            context.log.warning(f"the look goes on later: {done.waiting}")
        told = "; ".join([*done.refused, *([] if done.waiting is None else [done.waiting])])
        return dg.SensorResult(
            run_requests=[
                dg.RunRequest(
                    run_key=f"{asset.to_user_string()} {publish.id}",
                    asset_selection=[asset],
                    tags={BUNDLE_TAG: str(publish.reference)},
                )
                for publish in done.publishes
            ],
            skip_reason=None if done.publishes else dg.SkipReason(told or "nothing new is published"),
            asset_events=done.events,
            cursor=None if done.seen is None else written_cursor(done.seen),
        )

    return look
