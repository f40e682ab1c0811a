"""Where a bundle comes from, and what must be so before it runs here."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from packaging.specifiers import SpecifierSet

from orchestrator_marketplace.acceptance import Accepted
from orchestrator_marketplace.bundle_artifacts import LOCK_TYPE, PARTS
from orchestrator_marketplace.folders import CODE, MANIFEST
from orchestrator_marketplace.installations import Installations, installed_digest
from orchestrator_marketplace.layouts import read_file
from orchestrator_marketplace.locked_packages import LOCK_BYTES
from orchestrator_marketplace.manifests import MANIFEST_BYTES, Manifest, parse_manifest
from orchestrator_marketplace.names import BundleName
from orchestrator_marketplace.policies import decide_by_files, read_policies
from orchestrator_marketplace.publishers import Publishers, read_publishers
from orchestrator_marketplace.pulls import pull_bundle
from orchestrator_marketplace.references import Reference
from orchestrator_marketplace.refusals import BundleRefused, Refusal
from orchestrator_marketplace.registries import TRANSFER_SECONDS, Repository
from orchestrator_resources.homes import guests_folder, home_folder
from orchestrator_resources.runtimes import framework
from orchestrator_runtimes import bundles
from orchestrator_runtimes.client import Bundle

_FOLDER: Final = "bundles"


@dataclass(frozen=True, kw_only=True)
class InstalledBundle:
    """A bundle that is here, whole and trusted.

    Attributes:
        manifest: What it says of itself.
        code: What guests load.
        publisher: Who signed it.
        lock: Hashed requirements of its runtime profile; None when the framework alone is enough.
    """

    manifest: Manifest
    code: Bundle
    publisher: str
    lock: str | None = None


@dataclass(frozen=True, kw_only=True)
class BundleSource:
    """Where one bundle comes from.

    Attributes:
        name: Of the bundle.
        place: Where it is published, for people: a repository, or the name at a marketplace.
        trust: File of the publishers that are trusted.
        versions: Which may run.
        framework: What it must be for.
        inputs: Names of the inputs that it is given.
        policy: File of what tenants take; None takes what is trusted.
        advisories: Folder or archive of known weaknesses, which the policy needs unless its severity is `any`.
        tenant: Whose policy it is.
        insecure: Whether a registry that is not on this machine is spoken to by plain HTTP.
        approval: Whether a person decides about each publish; a policy may ask for that, too.
    """

    name: BundleName
    place: str
    trust: Path
    versions: SpecifierSet
    framework: str
    inputs: frozenset[str]
    policy: Path | None = None
    advisories: Path | None = None
    tenant: str = ""
    insecure: bool = False
    approval: bool = False

    def asks(self) -> bool:
        """Return whether a person decides about each publish.

        Raises:
            BundleRefused: The policy cannot be read, or there is none for the tenant.
        """
        return self.approval or (
            self.policy is not None and read_policies(self.policy).of(self.tenant).approval
        )

    def installed(self, reference: Reference, *, seconds: float = TRANSFER_SECONDS) -> InstalledBundle:
        """Return a version of the bundle, fetched and checked where it is not here yet, or its signature has ended.

        Args:
            reference: Of the version, with its digest.
            seconds: Of each download; one that is cut off is gone on with the next time.

        Raises:
            BundleRefused: Why it may not run, by name.
            RegistryUnavailable, RegistryDenied: It is not here, and cannot be had.
        """
        publishers = read_publishers(self.trust)
        root = Installations(home_folder() / _FOLDER / self._taken_by(publishers))
        folder = root.root / self.name.publisher / self.name.agent / (reference.tag or "")
        now = datetime.now(UTC)
        here = (folder / MANIFEST).is_file() and installed_digest(folder) == reference.digest
        if not here or not root.known(str(self.name)).holds(reference.tag or "", now):
            with Repository(reference, insecure=self.insecure, seconds=seconds) as repository:
                folder = pull_bundle(
                    repository, root, publishers, now, lower=True, decide=self._decide
                ).folder
        manifest = parse_manifest(read_file(folder / MANIFEST, MANIFEST_BYTES))
        self.check(manifest)
        digest, archive = bundles.pack(folder / CODE)
        return InstalledBundle(
            manifest=manifest,
            code=Bundle(digest=digest, archive=archive),
            publisher=self.name.publisher,
            lock=None
            if manifest.profile is None
            else read_file(folder / PARTS[LOCK_TYPE].file, LOCK_BYTES).decode(),
        )

    def check(self, manifest: Manifest) -> None:
        """Refuse a bundle that the asset cannot run.

        Raises:
            BundleRefused: `policy`, with what to change.
        """
        what = f"{manifest.name} {manifest.version}"
        if not self.allows(manifest.version):
            raise BundleRefused(Refusal.POLICY, f"{what}: `versions` of the asset are {self.versions}")
        if manifest.framework != self.framework:
            raise BundleRefused(
                Refusal.POLICY,
                f"{what} is for {manifest.framework}, and the asset for {self.framework}: change its `framework`",
            )
        if manifest.profile is not None and (why := _no_profiles(self.framework)):
            raise BundleRefused(
                Refusal.POLICY, f"{what} needs the runtime profile {manifest.profile!r}, and {why}"
            )
        schema: Mapping[str, Any] = manifest.inputs
        missing = sorted(set(schema.get("required", ())) - self.inputs)
        if missing:
            raise BundleRefused(
                Refusal.POLICY, f"{what} needs the input {missing[0]!r}: give it in the asset's `inputs`"
            )

    def allows(self, version: str) -> bool:
        """Return whether a version may run; one before a release only where `versions` names one."""
        return self.versions.contains(version)

    def _decide(self, accepted: Accepted) -> None:
        self.check(accepted.bundle.contents.manifest)
        if self.policy is not None:
            now = datetime.now(UTC)
            decide_by_files(accepted, self.policy, self.tenant, self.advisories, now).enforce()

    def _taken_by(self, publishers: Publishers) -> str:
        """Return the name of a folder: what was taken by other publishers or another policy is not taken by these."""
        policy = b"" if self.policy is None else self.policy.read_bytes() + self.tenant.encode()
        told = f"{self.place} {publishers.digest()} {hashlib.sha256(policy).hexdigest()}"
        return hashlib.sha256(told.encode()).hexdigest()[:16]


def _no_profiles(name: str) -> str | None:
    """Return why agents of a framework cannot bring an environment here; None when they can."""
    if guests_folder() is not None:
        return "guests are in containers here, which hold the framework alone"
    if framework(name).lock().node is not None:
        return f"those of {name} are not installed for others: their packages run code while they are"
    return None
