"""An asset whose agent is published by somebody else: each run has the version that it names, or else the newest."""

import hashlib
from typing import Final

import dagster as dg

from orchestrator_assets.agent_assets import ChosenAgent, asset_of, refuse_partition_key
from orchestrator_assets.execution_specs import ExecutionSpec
from orchestrator_marketplace.names import BundleName
from orchestrator_marketplace.references import Reference, parse_reference
from orchestrator_marketplace.refusals import BundleRefused, Refusal
from orchestrator_resources.environments import EnvironmentStore
from orchestrator_resources.guest_pool import Agent
from orchestrator_resources.homes import home_folder
from orchestrator_resources.runtime_profiles import foreign_profile
from orchestrator_resources.runtimes import framework
from orchestrator_runtimes.capabilities import Capability
from orchestrator_runtimes.errors import AgentError, ErrorCode
from orchestrator_runtimes.json_values import dump
from orchestrator_runtimes.messages import CONTRACT_VERSION
from orchestrator_sensors.bundle_sources import BundleSource
from orchestrator_sensors.catalogue import Catalogued, catalogue_key, catalogued

BUNDLE_TAG: Final = "orchestrator/bundle"
"""Tag of a run: the reference of the version that it has, with its digest."""


def published_asset(spec: ExecutionSpec, source: BundleSource, asset: dg.AssetSpec) -> dg.AssetsDefinition:
    """Make an asset of a bundle.

    Args:
        spec: How it runs.
        source: Where its agent comes from.
        asset: Key, owners, description and the like.
    """
    if asset.partitions_def is None:
        refuse_partition_key(spec)
    runtime = framework(spec.framework)
    store = EnvironmentStore(home_folder())
    environment = store.digest(runtime.lock())
    catalogue = catalogue_key(source.name, asset.key)
    inputs = {name: one.model_dump(mode="json") for name, one in spec.inputs.items()}
    parts = [environment, str(source.name), str(source.versions), spec.prompt, inputs]

    def choose(context: dg.AssetExecutionContext) -> ChosenAgent:
        known = catalogued(context.instance, catalogue)
        reference = chosen_reference(context.run.tags.get(BUNDLE_TAG), known, source)
        here = source.installed(reference)
        manifest = here.manifest
        own = None if here.lock is None else foreign_profile(runtime, here.lock)
        return ChosenAgent(
            spec=spec.model_copy(update={"output_schema": spec.output_schema or manifest.output}),
            agent=Agent(source=manifest.source(), bundle=here.code),
            described={
                "framework": runtime.title,
                "environment": environment if own is None else store.digest(own.lock()),
                "agent": here.code.digest,
                "entrypoint": manifest.entrypoint or "portable",
                "contract": CONTRACT_VERSION,
                "bundle": f"{manifest.name} {manifest.version}",
                "publish": str(reference),
                "publisher": here.publisher,
                "licence": manifest.licence,
            },
            model=manifest.portable.model if manifest.portable is not None else None,
            runtime=own,
            bundle=f"{manifest.name}:{manifest.version}",
        )

    return asset_of(
        spec,
        asset.replace_attributes(  # pyright: ignore[reportUnknownMemberType]  # Dagster's own annotation
            code_version=hashlib.sha256(dump(parts)).hexdigest()[:16],
            description=asset.description
            or f"`{source.name}` {source.versions}, published at {source.place}; runs in {runtime.title}.",
            deps=[*asset.deps, catalogue],
        ),
        runtime=runtime,
        environment=environment,
        waits=runtime.capabilities[Capability.APPROVAL].supported,
        choose=choose,
    )


def chosen_reference(tag: str | None, known: Catalogued, source: BundleSource) -> Reference:
    """Return the version that a run has.

    Args:
        tag: What the run names; another bundle's is as none.
        known: What was published.
        source: Of the asset.

    Raises:
        BundleRefused: The version is withdrawn, or not among those that were taken.
        AgentError: `agent_not_found` when nothing was published yet.
    """
    named = _named(tag, source.name)
    version = named or known.newest
    if version is None:
        raise AgentError(
            ErrorCode.AGENT_NOT_FOUND,
            f"no version of {source.name} was published yet, or all are withdrawn: turn on the asset's sensor, which"
            f" looks at {source.place}",
        )
    if version in known.withdrawn:
        raise BundleRefused(
            Refusal.POLICY, f"{source.name} {version} is withdrawn: run {known.newest or 'none'}"
        )
    where = known.taken.get(version)
    if where is None:
        raise BundleRefused(
            Refusal.POLICY,
            f"{source.name} {version} was not taken here; there are {', '.join(known.taken) or 'none'}",
        )
    return parse_reference(where)


def _named(tag: str | None, name: BundleName) -> str | None:
    if not tag:
        return None
    reference = parse_reference(tag)
    return reference.tag if f"/{reference.repository}".endswith(f"/{name}") else None
