"""`BundleReleaseComponent`: an asset whose materializations are the versions of a bundle that go out from here."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import dagster as dg
from dagster.components import ComponentLoadContext
from dagster.components.resolved.core_models import ResolvedAssetSpec
from dagster.components.resolved.errors import ResolutionException
from pydantic import Field

from orchestrator_assets.agent_assets import RESOURCE, op_name
from orchestrator_assets.failures import failure
from orchestrator_assets.spec_fields import Flag, OptionalText, PositiveInt
from orchestrator_marketplace.evaluation_scores import Evaluation
from orchestrator_marketplace.manifests import manifest_bytes
from orchestrator_marketplace.marketplaces import Listing
from orchestrator_marketplace.signatures import VALID_DAYS
from orchestrator_marketplace.signing_keys import load_private_key
from orchestrator_marketplace.statements import Source
from orchestrator_resources.agent_needs import TAG as AGENT_TAG
from orchestrator_resources.agent_needs import AgentNeed, need_tag
from orchestrator_resources.agent_runtimes import AGENT_RUNTIMES, AgentRuntimes
from orchestrator_resources.environments import EnvironmentStore
from orchestrator_resources.homes import home_folder
from orchestrator_runtimes.errors import AgentError
from orchestrator_sensors.release_checks import check_results, check_specs
from orchestrator_sensors.release_folders import Loaded, Releasable, read_releasable
from orchestrator_sensors.releases import Destination, Release, evaluation_done, release_layouts


class BundleReleaseComponent(dg.Component, dg.Model, dg.Resolvable):
    """Releases an agent of this location as a bundle: evaluated, built, signed, pushed, submitted to a marketplace.

    Each evaluation case and each threshold is an asset check. A bundle that does not reach its thresholds is refused,
    and nothing of it leaves. A run does what is not done yet: the same folder is the same digest.
    """

    bundle: str = Field(
        description="Folder of the bundle, or of an agent asset with a bundle.yaml, relative to this file.",
        examples=["clock", "../reviewer"],
    )
    registry: str = Field(
        description="OCI registry that it is pushed to, perhaps with a prefix.",
        examples=["registry.example/agents"],
    )
    key: str = Field(
        description="File of the publisher's private key, relative to this file; read when a run signs.",
        examples=["{{ env.ACME_KEY_FILE }}"],
    )
    marketplace: OptionalText = Field(
        default=None,
        description="Address of the marketplace that is asked for a review; None asks none.",
        examples=["https://marketplace.example"],
    )
    days: PositiveInt = Field(default=VALID_DAYS, description="How long the signature holds.")
    source: OptionalText = Field(
        default=None,
        description="Address of the repository that the folder is from; None does not tell.",
        examples=["https://git.example/acme/clock"],
    )
    commit: OptionalText = Field(default=None, description="Commit of the source; None does not tell.")
    insecure: Flag = Field(
        default=False, description="True speaks plain HTTP to a registry that is not on this machine."
    )
    asset: Annotated[ResolvedAssetSpec, Field(description="Key, owners, description and the like.")]

    @classmethod
    def get_spec(cls) -> dg.ComponentTypeSpec:
        """Return what the Dagster UI tells beside the documentation."""
        return dg.ComponentTypeSpec(tags=["agent", "marketplace"])

    def build_defs(self, context: ComponentLoadContext) -> dg.Definitions:
        """Return the asset with its checks, and the job that materializes it.

        Raises:
            ResolutionException: The folder is no bundle.
        """
        return self.made_in(context.path, context.component_tree.load_component, context.project_root)

    def made_in(self, folder: Path, load: Loaded, project: Path) -> dg.Definitions:
        """Return the definitions.

        Args:
            folder: Of the YAML.
            load: Loads the component of an agent asset's folder.
            project: In which the bundle must be.

        Raises:
            ResolutionException: As `build_defs`.
        """
        place = (folder / self.bundle).resolve()
        if not place.is_relative_to(project.resolve()):
            raise ResolutionException(f"bundle: {self.bundle!r} is outside of the project")
        if self.commit is not None and self.source is None:
            raise ResolutionException("commit: is of a source, which is missing")
        try:
            found = read_releasable(place, load)
        except AgentError as error:
            raise ResolutionException(f"bundle: {error.message}") from error
        released = self._asset(_Released(folder=folder, found=found))
        job = dg.define_asset_job(  # pyright: ignore[reportUnknownMemberType]  # Dagster's own annotation
            f"release_{op_name(self.asset.key)}", selection=dg.AssetSelection.assets(self.asset.key)
        )
        return dg.Definitions(assets=[released], jobs=[job], resources={RESOURCE: AGENT_RUNTIMES})

    def _asset(self, what: "_Released") -> dg.AssetsDefinition:
        manifest = what.found.contents.manifest
        key = self.asset.key
        environment = EnvironmentStore(home_folder()).digest(what.found.runtime.lock())
        spec = self.asset.replace_attributes(  # pyright: ignore[reportUnknownMemberType]  # Dagster's own annotation
            code_version=what.version,
            kinds=self.asset.kinds or {"bundle", manifest.framework},
            description=self.asset.description
            or f"Releases of `{manifest.name}` to {self.registry}, evaluated in {what.found.runtime.title}.",
        )

        @dg.multi_asset(
            name=op_name(key),
            specs=[spec],
            check_specs=check_specs(key, what.found.contents.cases()),
            required_resource_keys={RESOURCE},
            op_tags={AGENT_TAG: need_tag(AgentNeed(framework=manifest.framework, environment=environment))},
        )
        def release(
            context: dg.AssetExecutionContext,
        ) -> Iterator[dg.AssetCheckResult | dg.MaterializeResult[Any]]:
            try:
                yield from self._steps(context, what)
            except AgentError as error:
                raise failure(error) from error

        return release

    def _steps(
        self, context: dg.AssetExecutionContext, what: "_Released"
    ) -> Iterator[dg.AssetCheckResult | dg.MaterializeResult[Any]]:
        runtimes: AgentRuntimes = getattr(context.resources, RESOURCE)
        version = Release(what.found, self._destination(what.folder), release_layouts())
        context.log.info(str(version.built()))
        found, before = version.evaluation(), True
        if found is None:
            found, before = version.evaluated(runtimes.runtimes), False
        context.log.info(str(evaluation_done(found, before=before)))
        yield from check_results(self.asset.key, found)
        found.enforce(version.manifest)
        context.log.info(str(version.signed()))
        context.log.info(str(version.pushed()))
        submitted = version.submitted()
        if submitted is not None:
            context.log.info(str(submitted[0]))
        listing = None if submitted is None else submitted[1]
        yield dg.MaterializeResult(
            asset_key=self.asset.key,
            metadata=_told(version, found, listing, before=before),
            data_version=dg.DataVersion(version.bundle.digest),
        )

    def _destination(self, folder: Path) -> Destination:
        return Destination(
            registry=self.registry,
            key=load_private_key(folder / self.key),
            marketplace=self.marketplace,
            days=self.days,
            source=None if self.source is None else Source(uri=self.source, commit=self.commit),
            insecure=self.insecure,
        )


@dataclass(frozen=True, kw_only=True)
class _Released:
    """What a component releases: the folder of its YAML, and the bundle as it was when the definitions loaded."""

    folder: Path
    found: Releasable

    @property
    def version(self) -> str:
        """Return what is another one when the bundle is another one; it is built by a run only."""
        contents = self.found.contents
        parts = (
            manifest_bytes(contents.manifest),
            contents.code,
            contents.documentation,
            contents.evaluation,
        )
        digests = [hashlib.sha256(part).hexdigest() for part in parts]
        return hashlib.sha256(f"{digests} {self.found.runtime.lock()}".encode()).hexdigest()[:16]


def _told(version: Release, found: Evaluation, listing: Listing | None, *, before: bool) -> dict[str, Any]:
    manifest = version.manifest
    return {
        "publish": str(version.reference),
        "version": manifest.version,
        "digest": version.bundle.digest,
        "publisher": manifest.bundle_name.publisher,
        "summary": manifest.summary,
        "licence": manifest.licence,
        "framework": manifest.framework,
        "cases": len(found.scores),
        "evaluated_before": before,
        **{f"evaluation_{measure}": str(share) for measure, share in found.shares.items()},
        **({} if listing is None else {"review": listing.state.value}),
    }
