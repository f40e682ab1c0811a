"""A bundle in Dagster's graph: an asset whose materializations are the publishes that were taken.

What runs a bundle hangs on it, so that the graph leads from an output to the publish. The newest materialization is
also the record of which version runs, which all processes of a location can read.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import dagster as dg

from orchestrator_marketplace.manifests import Manifest
from orchestrator_marketplace.names import BundleName, parse_version
from orchestrator_marketplace.publishes import Publish
from orchestrator_runtimes.json_values import Json

MOST_KNOWN: Final = 100
"""Versions of a record, the highest: each materialization has the whole of it."""

_PREFIX: Final = "bundles"
_RECORD: Final = "record"
_DATA_VERSION: Final = "dagster/data_version"
"""Tag of an event: see Dagster's "External assets"."""


@dataclass(frozen=True, kw_only=True)
class Catalogued:
    """What is known of a bundle here.

    Attributes:
        taken: Reference of each version that was taken, with its digest, by version.
        withdrawn: Versions among them that nothing may run any more.
    """

    taken: Mapping[str, str]
    withdrawn: Sequence[str] = ()

    @property
    def newest(self) -> str | None:
        """The highest version that may run; None when there is none."""
        return max(self.taken.keys() - set(self.withdrawn), key=parse_version, default=None)


def catalogue_key(name: BundleName, beside: dg.AssetKey) -> dg.AssetKey:
    """Return the key of a bundle's asset, with the prefix of the asset that runs it, as tenants have one."""
    return dg.AssetKey([*beside.path[:-1], _PREFIX, name.publisher, name.agent])


def catalogue_spec(name: BundleName, beside: dg.AssetKey) -> dg.AssetSpec:
    """Return the asset of a bundle."""
    return dg.AssetSpec(
        key=catalogue_key(name, beside),
        description=f"Publishes of the bundle `{name}` that were taken here.",
        kinds={"bundle"},
    )


def taken_event(
    key: dg.AssetKey, known: Catalogued, publish: Publish, manifest: Manifest, publisher: str
) -> tuple[Catalogued, dg.AssetMaterialization]:
    """Return what is known once a publish is taken, and the materialization that says so."""
    taken = {**known.taken, publish.version: str(publish.reference)}
    kept = sorted(taken, key=parse_version)[-MOST_KNOWN:]
    after = Catalogued(
        taken={version: taken[version] for version in kept},
        withdrawn=[version for version in known.withdrawn if version in kept],
    )
    told = _told(publish, manifest, publisher)
    return after, _event(key, after, f"{manifest.name} {publish.version} was published", told, publish.digest)


def withdrawn_event(
    key: dg.AssetKey, known: Catalogued, versions: Sequence[str]
) -> tuple[Catalogued, dg.AssetMaterialization]:
    """Return what is known once versions are withdrawn, and the materialization that says so."""
    gone = sorted({*known.withdrawn, *versions}, key=parse_version)
    after = Catalogued(taken=known.taken, withdrawn=gone)
    text = f"withdrawn: {', '.join(versions)}; {after.newest or 'no version'} runs now"
    return after, _event(
        key, after, text, {"withdrawn": ", ".join(gone)}, after.taken.get(after.newest or "", "")
    )


def _event(
    key: dg.AssetKey, known: Catalogued, description: str, told: Mapping[str, str], version: str
) -> dg.AssetMaterialization:
    record = {"taken": dict(known.taken), "withdrawn": list(known.withdrawn)}
    return dg.AssetMaterialization(
        asset_key=key,
        description=description,
        metadata={**told, _RECORD: dg.MetadataValue.json(record)},
        tags={_DATA_VERSION: version},
    )


def asking_event(
    key: dg.AssetKey, publish: Publish, manifest: Manifest, publisher: str, approval: str
) -> dg.AssetObservation:
    """Return the observation that a publish waits for a person."""
    return dg.AssetObservation(
        asset_key=key,
        description=f"{manifest.name} {publish.version} waits for a person",
        metadata={
            **_told(publish, manifest, publisher),
            "approval": approval,
            "approve": f"orchestrator approvals approve {approval}",
            "decline": f"orchestrator approvals reject {approval}",
        },
    )


def asked_about(publish: Publish, manifest: Manifest, publisher: str) -> dict[str, Json]:
    """Return what a person decides about."""
    permissions = list(manifest.permissions.asked())
    return {**_told(publish, manifest, publisher), "permissions": permissions}


def _told(publish: Publish, manifest: Manifest, publisher: str) -> dict[str, str]:
    return {
        "publish": publish.id,
        "version": publish.version,
        "digest": publish.digest,
        "publisher": publisher,
        "summary": manifest.summary,
        "licence": manifest.licence,
        "framework": manifest.framework,
    }


def catalogued(instance: dg.DagsterInstance, key: dg.AssetKey) -> Catalogued:
    """Return what is known of a bundle, by its newest materialization."""
    event = instance.get_latest_materialization_event(key)
    made = None if event is None else event.asset_materialization
    return Catalogued(taken={}) if made is None else told_by(made)


def told_by(made: dg.AssetMaterialization) -> Catalogued:
    """Return what a materialization of a bundle's asset says is known; nothing where somebody else reported it."""
    found = made.metadata.get(_RECORD)
    record: Any = found.value if isinstance(found, dg.JsonMetadataValue) else {}
    try:
        taken = {str(version): str(where) for version, where in record.get("taken", {}).items()}
        withdrawn = [str(version) for version in record.get("withdrawn", ())]
    except (AttributeError, TypeError):
        return Catalogued(taken={})
    return Catalogued(taken=taken, withdrawn=withdrawn)
