"""`PublishedAgentComponent`: an asset of an agent that somebody else publishes, in YAML."""

import os
from pathlib import Path
from typing import Self

import dagster as dg
from dagster.components import ComponentLoadContext
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from pydantic import Field, field_validator, model_validator

from orchestrator_assets.agent_assets import RESOURCE, op_name
from orchestrator_assets.spec_fields import Flag, OptionalText, WrongValue
from orchestrator_assets.yaml_components import YamlComponent
from orchestrator_marketplace.names import parse_name
from orchestrator_marketplace.publishes import MarketplacePublishes, Publishes, RegistryPublishes
from orchestrator_marketplace.references import Reference, parse_reference
from orchestrator_marketplace.refusals import BundleRefused
from orchestrator_resources.agent_runtimes import AGENT_RUNTIMES
from orchestrator_sensors.bundle_sources import BundleSource
from orchestrator_sensors.catalogue import catalogue_spec
from orchestrator_sensors.publish_sensors import publish_sensor
from orchestrator_sensors.published_agents import published_asset


class PublishedAgentComponent(YamlComponent):
    """Runs an agent that somebody else publishes as a bundle, each time a version of it is published.

    A sensor looks at the registry: what is new, signed by a publisher that `trust` names, and allowed by `versions`, is
    installed, and the asset is run with it. The bundle is an asset of its own, on which this one hangs.
    """

    bundle: str = Field(description="Name of the bundle: publisher/agent.", examples=["acme/reviewer"])
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
    def known_name(cls, value: str) -> str:
        """Refuse what is no name of a bundle."""
        try:
            parse_name(value)
        except BundleRefused as error:
            raise WrongValue(error.message) from error
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
        """Require exactly one of registry and marketplace, and that it is one."""
        if (self.registry is None) == (self.marketplace is None):
            raise WrongValue("give either registry or marketplace", "registry")
        if self.registry is not None:
            self._repository()
        elif not str(self.marketplace).startswith(("https://", "http://")):
            raise WrongValue(f"{self.marketplace!r} is no address: write such as https://…", "marketplace")
        return self

    def build_defs(self, context: ComponentLoadContext) -> dg.Definitions:
        """Return the asset, that of its bundle, and the sensor.

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
            source = self._source(folder)
            published = published_asset(self, source, self.asset)
        sensor = publish_sensor(
            f"{op_name(self.asset.key)}_publishes",
            source,
            self._publishes(),
            self.asset.key,
            approval_seconds=self.approval_seconds,
        )
        return dg.Definitions(
            assets=[published, catalogue_spec(source.name, self.asset.key)],
            sensors=[sensor],
            resources={RESOURCE: AGENT_RUNTIMES},
        )

    def _source(self, folder: Path) -> BundleSource:
        return BundleSource(
            name=parse_name(self.bundle),
            place=f"{self.marketplace or self.registry}/{self.bundle}",
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

    def _publishes(self) -> Publishes:
        if self.marketplace is not None:
            return MarketplacePublishes(self.marketplace, parse_name(self.bundle))
        return RegistryPublishes(self._repository(), insecure=self.insecure)

    def _repository(self) -> Reference:
        assert self.registry is not None
        try:
            reference = parse_reference(f"{self.registry.rstrip('/')}/{self.bundle}")
        except BundleRefused as error:
            raise WrongValue(
                f"{self.registry!r} is no registry: write a host, such as registry.example", "registry"
            ) from error
        if reference.tag is not None or reference.digest is not None:
            raise WrongValue(f"{self.registry!r} names a version, and the publishes do that", "registry")
        return reference


def _beside(folder: Path, name: str, field: str) -> Path:
    place = (folder / name).resolve()
    if not place.is_relative_to(folder.resolve()) or not place.exists():
        raise WrongValue(f"{name!r} must be there, beside this file", field)
    return place
