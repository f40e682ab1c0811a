"""`PublishedAgentComponent`: assets of agents that somebody else publishes, in YAML."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Self

import dagster as dg
from dagster.components import ComponentLoadContext
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from pydantic import Field, field_validator, model_validator

from orchestrator_assets.agent_assets import RESOURCE, op_name
from orchestrator_assets.spec_fields import Flag, OptionalText, WrongValue
from orchestrator_assets.yaml_components import YamlComponent
from orchestrator_marketplace.names import BundleName, parse_name
from orchestrator_marketplace.publishes import MarketplacePublishes, Publishes, RegistryPublishes
from orchestrator_marketplace.references import Reference, parse_reference
from orchestrator_marketplace.refusals import BundleRefused
from orchestrator_resources.agent_runtimes import AGENT_RUNTIMES
from orchestrator_sensors.bundle_sources import BundleSource
from orchestrator_sensors.catalogue import catalogue_spec
from orchestrator_sensors.publish_sensors import publish_sensor
from orchestrator_sensors.published_agents import published_asset

MOST_BUNDLES: Final = 50
"""Of one component: each has a sensor that looks every few seconds."""


class PublishedAgentComponent(YamlComponent):
    """Runs agents that somebody else publishes as bundles, each time a version of one is published.

    A sensor looks at the registry: what is new, signed by a publisher that `trust` names, and allowed by `versions`, is
    installed, and the asset is run with it. The bundle is an asset of its own, on which this one hangs. Several bundles
    have an asset and a sensor each.
    """

    bundle: OptionalText = Field(
        default=None, description="Name of the bundle: publisher/agent.", examples=["acme/reviewer"]
    )
    bundles: Sequence[str] = Field(
        default=(),
        description="Names of several bundles, instead of one: what is said here holds for each. The asset of each has"
        " the agent's name below this asset's key.",
        examples=[["acme/reviewer", "acme/summarizer"]],
    )
    registry: OptionalText = Field(
        default=None,
        description="OCI registry where it is published, perhaps with a prefix: a version that is pushed is published.",
        examples=["registry.example"],
    )
    marketplace: OptionalText = Field(
        default=None,
        description="Address of a marketplace that lists it, instead of a registry.",
        examples=["https://marketplace.example"],
    )
    trust: str = Field(
        description="File of the publishers that are trusted, and of their keys, beside this one.",
        examples=["trust.yaml"],
    )
    policy: OptionalText = Field(
        default=None,
        description="File of what tenants take, beside this one: publishers, licences, permissions, known weaknesses;"
        " None takes whatever is trusted.",
        examples=["policies.yaml"],
    )
    advisories: OptionalText = Field(
        default=None,
        description="Mirror of known weaknesses for the policy, beside this one: a folder or a zip of OSV records.",
        examples=["advisories"],
    )
    versions: str = Field(
        default=">=0",
        description="Versions that may run, as Python's packages write them.",
        examples=[">=1.2,<2"],
    )
    insecure: Flag = Field(
        default=False, description="True speaks plain HTTP to a registry that is not on this machine."
    )
    approval: Flag = Field(
        default=False,
        description="True lets each publish wait until a person approves it; a policy may ask for that, too.",
    )
    tags = ("agent", "marketplace")

    @field_validator("bundle")
    @classmethod
    def known_name(cls, value: str | None) -> str | None:
        """Refuse what is no name of a bundle."""
        if value is not None:
            _name(value)
        return value

    @field_validator("bundles")
    @classmethod
    def known_names(cls, value: Sequence[str]) -> Sequence[str]:
        """Refuse too many, what is no name, and two whose assets would be one."""
        if len(value) > MOST_BUNDLES:
            raise WrongValue(
                f"has {len(value)} bundles, and may have {MOST_BUNDLES}: write another component"
            )
        agents: dict[str, str] = {}
        for place, text in enumerate(value):
            agent = _name(text, place).agent
            if text in value[:place]:
                raise WrongValue(f"{text!r} is there twice", place)
            if (other := agents.setdefault(agent, text)) != text:
                raise WrongValue(
                    f"{other!r} and {text!r} would be one asset: write a component for each", place
                )
        return value

    @field_validator("versions")
    @classmethod
    def known_versions(cls, value: str) -> str:
        """Refuse what names no versions."""
        try:
            SpecifierSet(value)
        except InvalidSpecifier as error:
            raise WrongValue(f"{value!r} names no versions: write such as '>=1.2,<2'") from error
        return value

    @model_validator(mode="after")
    def one_place(self) -> Self:
        """Require bundles, and exactly one of registry and marketplace, and that it is one."""
        if (self.bundle is None) == (not self.bundles):
            raise WrongValue("give either bundle or bundles", "bundle")
        if (self.registry is None) == (self.marketplace is None):
            raise WrongValue("give either registry or marketplace", "registry")
        if self.registry is not None:
            for name, _ in self._assets():
                self._repository(name)
        elif not str(self.marketplace).startswith(("https://", "http://")):
            raise WrongValue(f"{self.marketplace!r} is no address: write such as https://…", "marketplace")
        return self

    def build_defs(self, context: ComponentLoadContext) -> dg.Definitions:
        """Return the asset, that of its bundle, and the sensor; of several bundles, those of each.

        Raises:
            ResolutionException: The registry is none, or there is no file of publishers.
        """
        return self.made_in(context.path)

    def made_in(self, folder: Path) -> dg.Definitions:
        """Return the definitions, with the file of publishers in the folder of the YAML.

        Raises:
            ResolutionException: As `build_defs`.
        """
        with self.placing():
            made = [self._made(name, asset, folder) for name, asset in self._assets()]
        return dg.Definitions(
            assets=[one for assets, _ in made for one in assets],
            sensors=[sensor for _, sensor in made],
            resources={RESOURCE: AGENT_RUNTIMES},
        )

    def _assets(self) -> list[tuple[BundleName, dg.AssetSpec]]:
        """Return each bundle with its asset."""
        if self.bundle is not None:
            return [(parse_name(self.bundle), self.asset)]
        return [(name, _below(self.asset, name.agent)) for name in map(parse_name, self.bundles)]

    def _made(
        self, name: BundleName, asset: dg.AssetSpec, folder: Path
    ) -> tuple[list[dg.AssetsDefinition | dg.AssetSpec], dg.SensorDefinition]:
        source = self._source(name, folder)
        sensor = publish_sensor(
            f"{op_name(asset.key)}_publishes",
            source,
            self._publishes(name),
            asset.key,
            approval_seconds=self.approval_seconds,
        )
        return [published_asset(self, source, asset), catalogue_spec(name, asset.key)], sensor

    def _source(self, name: BundleName, folder: Path) -> BundleSource:
        return BundleSource(
            name=name,
            place=f"{self.marketplace or self.registry}/{name}",
            trust=_beside(folder, self.trust, "trust"),
            policy=None if self.policy is None else _beside(folder, self.policy, "policy"),
            advisories=None if self.advisories is None else _beside(folder, self.advisories, "advisories"),
            tenant=os.environ.get("ORCHESTRATOR_TENANT") or "",
            versions=SpecifierSet(self.versions),
            framework=self.framework,
            inputs=frozenset(self.inputs),
            insecure=self.insecure,
            approval=self.approval,
        )

    def _publishes(self, name: BundleName) -> Publishes:
        if self.marketplace is not None:
            return MarketplacePublishes(self.marketplace, name)
        return RegistryPublishes(self._repository(name), insecure=self.insecure)

    def _repository(self, name: BundleName) -> Reference:
        assert self.registry is not None
        try:
            reference = parse_reference(f"{self.registry.rstrip('/')}/{name}")
        except BundleRefused as error:
            raise WrongValue(
                f"{self.registry!r} is no registry: write a host, such as registry.example", "registry"
            ) from error
        if reference.tag is not None or reference.digest is not None:
            raise WrongValue(f"{self.registry!r} names a version, and the publishes do that", "registry")
        return reference


def _name(text: str, *place: int) -> BundleName:
    try:
        return parse_name(text)
    except BundleRefused as error:
        raise WrongValue(error.message, *place) from error


def _below(asset: dg.AssetSpec, agent: str) -> dg.AssetSpec:
    key = dg.AssetKey([*asset.key.path, agent])
    return asset.replace_attributes(key=key)  # pyright: ignore[reportUnknownMemberType]  # Dagster's own annotation


def _beside(folder: Path, name: str, field: str) -> Path:
    place = (folder / name).resolve()
    if not place.is_relative_to(folder.resolve()) or not place.exists():
        raise WrongValue(f"{name!r} must be there, beside this file", field)
    return place
