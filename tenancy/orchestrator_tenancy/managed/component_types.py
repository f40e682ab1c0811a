"""The components that a managed location may have: each is data alone, and all of its names get the tenant's prefix.

A type is looked up in a table and never imported by its name, which would run a module that somebody else chose.
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar, cast

import dagster as dg

from orchestrator_assets import (
    AgentComponent,
    ApprovalsComponent,
    ExternalAssetsComponent,
    InputSpec,
    approval_sensor,
)
from orchestrator_assets.agent_assets import RESOURCE
from orchestrator_assets.approval_definitions import decision_job
from orchestrator_assets.waiting_metadata import DECISION_JOB
from orchestrator_assets.yaml_components import YamlComponent
from orchestrator_sensors import PublishedAgentComponent
from orchestrator_tenancy.managed.guest_runtimes import GUEST_RUNTIMES
from orchestrator_tenancy.managed.partition_bounds import check_partitions
from orchestrator_tenancy.managed.refusals import NotManaged
from orchestrator_tenancy.names import own_key, own_name

Named = TypeVar("Named", bound=YamlComponent)

SOURCES_VARIABLE: Final = "ORCHESTRATOR_MANAGED_SOURCES"
"""Registries and marketplaces that managed locations may name, as they are to be written, with spaces between; none
where it is not set."""


@dataclass(frozen=True, kw_only=True)
class ManagedType:
    """A component that is data alone.

    Attributes:
        component: Its class.
        build: Makes its definitions, of the component, the folder of its YAML, and the tenant.
    """

    component: type[dg.Component]
    build: Callable[[dg.Component, Path, str], dg.Definitions]


def _agent(component: dg.Component, folder: Path, tenant: str) -> dg.Definitions:
    agent = cast("AgentComponent", component)
    if agent.profile is not None:
        _check_profile(agent.profile, folder)
    made = _named(agent, tenant).made_in(folder)
    return dg.Definitions(assets=[made], resources={RESOURCE: GUEST_RUNTIMES})


def _published(component: dg.Component, folder: Path, tenant: str) -> dg.Definitions:
    agent = cast("PublishedAgentComponent", component)
    _check_source(agent)
    made = _named(agent, tenant).made_in(folder)
    return dg.Definitions(assets=made.assets, sensors=made.sensors, resources={RESOURCE: GUEST_RUNTIMES})


def _named(agent: Named, tenant: str) -> Named:
    """Return an agent's component whose names are the tenant's."""
    check_partitions(agent.asset.partitions_def)
    asset: Any = agent.asset.replace_attributes(  # pyright: ignore[reportUnknownMemberType]  # Dagster's annotation
        key=_own(agent.asset.key, tenant),
        deps=[dg.AssetDep(_own(dep.asset_key, tenant)) for dep in agent.asset.deps],
    )
    inputs = {name: _own_input(source, tenant) for name, source in agent.inputs.items()}
    return agent.model_copy(update={"asset": asset, "inputs": inputs})


def _check_source(agent: PublishedAgentComponent) -> None:
    """Refuse a place that no operator named: the platform's own processes would speak to whomever a tenant writes."""
    named = (os.environ.get(SOURCES_VARIABLE) or "").split()
    place = agent.marketplace or agent.registry
    if agent.insecure:
        raise NotManaged("insecure: is not for managed locations")
    if place not in named:
        raise NotManaged(
            f"{'registry' if agent.marketplace is None else 'marketplace'}: {place!r:.80} is none that the operator"
            f" named; there are {', '.join(named) or 'none'}"
        )


def _own(key: dg.AssetKey, tenant: str) -> dg.AssetKey:
    return dg.AssetKey(own_key(tenant, key.path))


def _own_input(source: InputSpec, tenant: str) -> InputSpec:
    if source.asset is None:
        return source
    key = _own(dg.AssetKey.from_user_string(source.asset), tenant)
    return source.model_copy(update={"asset": key.to_user_string()})


def _check_profile(profile: str, folder: Path) -> None:
    """Refuse a runtime profile that is elsewhere: its text stands in errors."""
    if not (folder / profile).resolve().is_relative_to(folder.resolve()):
        raise NotManaged(f"profile: {profile[:80]!r} is not beside this file")


def _approvals(component: dg.Component, folder: Path, tenant: str) -> dg.Definitions:
    del folder  # it has no files
    approvals = cast("ApprovalsComponent", component)
    return dg.Definitions(
        sensors=[approval_sensor(name=own_name(tenant, "approvals"), seconds=approvals.seconds)],
        jobs=[decision_job(name=own_name(tenant, DECISION_JOB), below=f"{tenant}/")],
    )


def _external(component: dg.Component, folder: Path, tenant: str) -> dg.Definitions:
    del folder
    specs = cast("ExternalAssetsComponent", component).specs()
    return dg.Definitions(assets=[dg.AssetSpec(_own(spec.key, tenant)) for spec in specs])


MANAGED_TYPES: Final[Mapping[str, ManagedType]] = {
    "orchestrator_assets.AgentComponent": ManagedType(component=AgentComponent, build=_agent),
    "orchestrator_sensors.PublishedAgentComponent": ManagedType(
        component=PublishedAgentComponent, build=_published
    ),
    "orchestrator_assets.ApprovalsComponent": ManagedType(component=ApprovalsComponent, build=_approvals),
    "orchestrator_assets.ExternalAssetsComponent": ManagedType(
        component=ExternalAssetsComponent, build=_external
    ),
}
