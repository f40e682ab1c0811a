"""Releasing a bundle of one's own: built, evaluated, signed, pushed, submitted; what is done is not done again.

There is no record of what was done. Each step looks whether it is: the build has the same digest, what was evaluated
and signed lies as signed statements beside the bundle, here or in the registry, and the marketplace says where the
version is. So a release that was killed anywhere goes on, also on another machine.
"""

import contextlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec

from orchestrator_marketplace.bundle_artifacts import Bundle, build_bundle, open_bundle
from orchestrator_marketplace.evaluation_scores import (
    Evaluation,
    evaluation_statement,
    told_evaluation,
)
from orchestrator_marketplace.layouts import Layout
from orchestrator_marketplace.manifests import Manifest
from orchestrator_marketplace.marketplace_client import HttpMarketplace
from orchestrator_marketplace.marketplaces import Listing
from orchestrator_marketplace.publishers import Publishers
from orchestrator_marketplace.references import Reference, parse_reference
from orchestrator_marketplace.refusals import BundleRefused, Refusal
from orchestrator_marketplace.registries import Repository
from orchestrator_marketplace.signatures import (
    VALID_DAYS,
    Signer,
    add_statement,
    said_by_owner,
    sign_bundle,
    verify_bundle,
)
from orchestrator_marketplace.statements import EVALUATION, Source
from orchestrator_marketplace.submissions import marketplace_name, submit_version
from orchestrator_marketplace.transfers import fetch_bundle, push_bundle
from orchestrator_resources.homes import home_folder
from orchestrator_resources.runtimes import Runtimes
from orchestrator_sensors.evaluation_runs import evaluate, forget_evaluation
from orchestrator_sensors.release_folders import Releasable


def release_layouts() -> Path:
    """Return where layouts of releases are kept on this machine; what is in them can be had again."""
    return home_folder() / "releases"


class Step(StrEnum):
    """What is done, in this order."""

    BUILT = "built"
    EVALUATED = "evaluated"
    SIGNED = "signed"
    PUSHED = "pushed"
    SUBMITTED = "submitted"


@dataclass(frozen=True, kw_only=True)
class Done:
    """A step that is done.

    Attributes:
        step: Which.
        before: Whether it had been done before.
        said: What came of it, in a line.
    """

    step: Step
    before: bool
    said: str

    def __str__(self) -> str:
        """Return it as people read it."""
        return f"{self.step}{' before' if self.before else ''}: {self.said}"


@dataclass(frozen=True, kw_only=True)
class Destination:
    """Where a bundle is released, and by whom.

    Attributes:
        registry: A host, perhaps with a prefix.
        key: Of the publisher: what signs the bundle, and the request for a review.
        marketplace: Address of the marketplace that is asked for a review; None asks none.
        days: How long the signature holds.
        source: Where the folder is from; None does not tell.
        insecure: Whether a registry that is not on this machine is spoken to by plain HTTP.
    """

    registry: str
    key: ec.EllipticCurvePrivateKey
    marketplace: str | None = None
    days: int = VALID_DAYS
    source: Source | None = None
    insecure: bool = False

    def reference(self, manifest: Manifest) -> Reference:
        """Return where a version is pushed.

        Raises:
            BundleRefused: `malformed`: the registry is none.
        """
        return parse_reference(f"{self.registry.rstrip('/')}/{manifest.name}:{manifest.version}")


class Release:
    """One version on its way out; see the module. Every step may raise `AgentError`, with what to change.

    Args:
        folder: What is released.
        destination: Where to.
        layouts: Folder in which layouts of releases are kept.

    Attributes:
        bundle: As it was built.
        reference: Where it is then, with its digest.
    """

    def __init__(self, folder: Releasable, destination: Destination, layouts: Path) -> None:
        """Build it, which changes nothing elsewhere."""
        manifest = folder.contents.manifest
        self._runtime = folder.runtime
        self._to = destination
        self._layout = Layout(
            layouts / manifest.bundle_name.publisher / manifest.bundle_name.agent / manifest.version
        )
        self._entry = build_bundle(folder.contents, folder.runtime.lock(), self._layout)
        self.bundle: Bundle = open_bundle(self._layout, self._entry)
        self.reference: Reference = destination.reference(manifest).pinned(self._entry.digest)
        self._signer = Signer(key=destination.key)
        self._own = Publishers(keys=((manifest.bundle_name.publisher, destination.key.public_key()),))

    @property
    def manifest(self) -> Manifest:
        """What the bundle says of itself."""
        return self.bundle.contents.manifest

    def built(self) -> Done:
        """Tell what was built, after a look at the registry: a version is never replaced.

        Raises:
            BundleRefused: `moved_tag` when the version is there with other bytes.
        """
        with self._repository(self.reference) as repository:
            there = None if self.reference.tag is None else repository.manifest(self.reference.tag)
            if there is None:
                return self._built(before=False)
            if there != self._layout.blob(self._entry, self._entry.size):
                raise BundleRefused(
                    Refusal.MOVED_TAG,
                    f"{self._to.reference(self.manifest)} is another bundle already: raise the version",
                )
            fetch_bundle(repository, self._layout)
        return self._built(before=True)

    def evaluation(self) -> Evaluation | None:
        """Return the signed evaluation beside the bundle; None where there is none that reaches the thresholds."""
        now = datetime.now(UTC)
        for statement in said_by_owner(self._layout, self.bundle, self._own, now):
            if statement.kind == EVALUATION:
                found = told_evaluation(statement, self.manifest)
                if not found.missed:
                    return found
        return None

    def evaluated(self, host: Runtimes) -> Evaluation:
        """Run the cases, and sign what they come to where that reaches the thresholds.

        What is told of a bundle that does not reach them is for its publisher alone, and is not kept.
        """
        found = evaluate(self.bundle, self._runtime, host)
        if not found.missed:
            statement = evaluation_statement(self.bundle.digest, found)
            add_statement(self._layout, self.bundle.digest, statement, self._signer)
        forget_evaluation(self.bundle, host)
        return found

    def signed(self) -> Done:
        """Sign the bundle, unless a signature holds."""
        now = datetime.now(UTC)
        try:
            verified = verify_bundle(self._layout, self.bundle, self._own, now)
        except BundleRefused:
            days = self._to.days
            sign_bundle(self._layout, self.bundle, self._signer, now, days=days, source=self._to.source)
            return Done(
                step=Step.SIGNED,
                before=False,
                said=f"by {self.manifest.bundle_name.publisher} for {days} days",
            )
        until = "without end" if verified.expires is None else f"until {verified.expires.date()}"
        return Done(step=Step.SIGNED, before=True, said=f"by {verified.publisher} {until}")

    def pushed(self) -> Done:
        """Store the bundle and what is said about it in the registry."""
        with self._repository(self._to.reference(self.manifest)) as repository:
            done = push_bundle(self._layout, self._entry, repository)
        return Done(step=Step.PUSHED, before=not done.moved, said=str(self.reference))

    def submitted(self) -> tuple[Done, Listing] | None:
        """Open the review at the marketplace; None where there is none."""
        url = self._to.marketplace
        if url is None:
            return None
        with contextlib.closing(HttpMarketplace(url)) as marketplace:
            listing, now = submit_version(
                marketplace, marketplace_name(url), self.manifest, self.reference, self._to.key
            )
        return Done(step=Step.SUBMITTED, before=not now, said=f"{url}: {listing.state}"), listing

    def _built(self, *, before: bool) -> Done:
        manifest = self.manifest
        return Done(
            step=Step.BUILT, before=before, said=f"{manifest.name} {manifest.version} {self._entry.digest}"
        )

    def _repository(self, reference: Reference) -> Repository:
        return Repository(reference, insecure=self._to.insecure)


def evaluation_done(found: Evaluation, *, before: bool) -> Done:
    """Return the step of an evaluation."""
    shares = "; ".join(f"{measure} {share}" for measure, share in found.shares.items())
    return Done(step=Step.EVALUATED, before=before, said=shares)


def publish(
    release: Release, hosts: Callable[[], AbstractContextManager[Runtimes]], tell: Callable[[Done], None]
) -> None:
    """Do every step of a release that is not done.

    Args:
        release: Which.
        hosts: Opens where guests run; called only when something has to be evaluated.
        tell: Takes each step as it is done.

    Raises:
        BundleRefused: `threshold`, and whatever else is wrong with the bundle, by name.
        AgentError: What cannot be reached; the next try goes on.
    """
    tell(release.built())
    found = release.evaluation()
    if found is not None:
        tell(evaluation_done(found, before=True))
    else:
        with hosts() as host:
            found = release.evaluated(host)
        found.enforce(release.manifest)
        tell(evaluation_done(found, before=False))
    tell(release.signed())
    tell(release.pushed())
    submitted = release.submitted()
    if submitted is not None:
        tell(submitted[0])
