"""A bundle as an OCI artifact, and back: one part for each thing that it holds, each of a media type of its own."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from orchestrator_marketplace.code_archives import CODE_BYTES
from orchestrator_marketplace.folders import (
    CODE,
    DOCUMENTATION,
    DOCUMENTATION_BYTES,
    EVALUATION,
    EVALUATION_BYTES,
    BundleContents,
    check_contents,
)
from orchestrator_marketplace.layouts import Layout
from orchestrator_marketplace.locked_packages import LOCK_BYTES, NODE_LOCK_BYTES, Package, packages_of
from orchestrator_marketplace.manifests import MANIFEST_BYTES, manifest_bytes, parse_manifest
from orchestrator_marketplace.oci import TITLE, Descriptor, OciManifest
from orchestrator_marketplace.refusals import BundleRefused, Refusal
from orchestrator_marketplace.sboms import SBOM_BYTES, check_sbom, sbom_bytes
from orchestrator_runtimes.locks import Lock, NodeLock

_OURS: Final = "application/vnd.agent-orchestrator.bundle"
BUNDLE_TYPE: Final = f"{_OURS}.v1"
CONFIG_TYPE: Final = f"{_OURS}.manifest.v1+json"
CODE_TYPE: Final = f"{_OURS}.code.v1.tar"
LOCK_TYPE: Final = f"{_OURS}.lock.v1+txt"
NODE_LOCK_TYPE: Final = f"{_OURS}.node-lock.v1+json"
EVALUATION_TYPE: Final = f"{_OURS}.evaluation.v1+jsonl"
DOCUMENTATION_TYPE: Final = "text/markdown"
SBOM_TYPE: Final = "application/vnd.cyclonedx+json"


@dataclass(frozen=True, kw_only=True)
class PartKind:
    """A part of a bundle.

    Attributes:
        file: Its name as a file.
        most: Its largest size in bytes.
        needed: Whether every bundle has one.
    """

    file: str
    most: int
    needed: bool = True


PARTS: Final[Mapping[str, PartKind]] = {
    CODE_TYPE: PartKind(file=f"{CODE}.tar", most=CODE_BYTES),
    LOCK_TYPE: PartKind(file="lock.txt", most=LOCK_BYTES),
    NODE_LOCK_TYPE: PartKind(file="package-lock.json", most=NODE_LOCK_BYTES, needed=False),
    SBOM_TYPE: PartKind(file="sbom.cdx.json", most=SBOM_BYTES),
    DOCUMENTATION_TYPE: PartKind(file=DOCUMENTATION, most=DOCUMENTATION_BYTES),
    EVALUATION_TYPE: PartKind(file=EVALUATION, most=EVALUATION_BYTES),
}
"""By media type, in the order in which bundles have them. A bundle with another part is none."""


@dataclass(frozen=True, kw_only=True)
class Bundle:
    """A bundle, whole and checked, but by nobody's word yet.

    Attributes:
        digest: Of its artifact: what it is pinned by.
        contents: What it holds.
        lock: The environment that it runs in; its `node.package` is empty.
        packages: What that is made of.
        parts: Bytes of each part, by media type.
    """

    digest: str
    contents: BundleContents
    lock: Lock
    packages: tuple[Package, ...]
    parts: Mapping[str, bytes]


def build_bundle(contents: BundleContents, lock: Lock, layout: Layout) -> Descriptor:
    """Put a bundle into a layout, tagged with its version; the same contents and lock are the same digest.

    Raises:
        BundleRefused: Something in it is larger than its limit, or the lock is none.
    """
    packages = packages_of(lock)
    parts = {
        CODE_TYPE: contents.code,
        LOCK_TYPE: lock.python.encode(),
        **({} if lock.node is None else {NODE_LOCK_TYPE: lock.node.lock.encode()}),
        SBOM_TYPE: sbom_bytes(contents.manifest, packages),
        DOCUMENTATION_TYPE: contents.documentation,
        EVALUATION_TYPE: contents.evaluation,
    }
    config = manifest_bytes(contents.manifest)
    artifact = OciManifest(
        artifact_type=BUNDLE_TYPE,
        config=Descriptor.of(config, CONFIG_TYPE),
        layers=tuple(
            Descriptor.of(content, kind, **{TITLE: PARTS[kind].file}) for kind, content in parts.items()
        ),
        annotations={
            "org.opencontainers.image.description": contents.manifest.summary,
            "org.opencontainers.image.licenses": contents.manifest.licence,
            "org.opencontainers.image.title": contents.manifest.name,
            "org.opencontainers.image.version": contents.manifest.version,
        },
    )
    check_parts(artifact)
    for descriptor, content in zip(
        (artifact.config, *artifact.layers), (config, *parts.values()), strict=True
    ):
        layout.add_blob(content, descriptor)
    return layout.add(artifact.to_bytes(), tag=contents.manifest.version)


def check_parts(artifact: OciManifest) -> None:
    """Refuse an artifact that is no bundle by its manifest alone, before anything of it is fetched.

    Raises:
        BundleRefused: `malformed`, `oversized`.
    """
    if artifact.artifact_type != BUNDLE_TYPE or artifact.config.media_type != CONFIG_TYPE:
        raise BundleRefused(Refusal.MALFORMED, f"no bundle, but {artifact.artifact_type!r:.100}")
    kinds = [layer.media_type for layer in artifact.layers]
    if unknown := next((kind for kind in kinds if kind not in PARTS or kinds.count(kind) > 1), None):
        raise BundleRefused(Refusal.MALFORMED, f"the part {unknown!r:.100} is not known here, or there twice")
    if missing := next((kind for kind, part in PARTS.items() if part.needed and kind not in kinds), None):
        raise BundleRefused(Refusal.MALFORMED, f"the part {missing} is missing")
    limits = [
        (artifact.config, MANIFEST_BYTES),
        *((layer, PARTS[layer.media_type].most) for layer in artifact.layers),
    ]
    for descriptor, most in limits:
        if descriptor.size > most:
            raise BundleRefused(
                Refusal.OVERSIZED, f"{descriptor.media_type} has {descriptor.size} bytes; the limit is {most}"
            )


def open_bundle(layout: Layout, entry: Descriptor) -> Bundle:
    """Return a bundle of a layout; every part of it is checked, none is run.

    Raises:
        BundleRefused: What is wrong with it, by name.
    """
    artifact = layout.manifest(entry)
    check_parts(artifact)
    parts = {layer.media_type: layout.blob(layer, PARTS[layer.media_type].most) for layer in artifact.layers}
    contents = BundleContents(
        manifest=parse_manifest(layout.blob(artifact.config, MANIFEST_BYTES)),
        code=parts[CODE_TYPE],
        documentation=parts[DOCUMENTATION_TYPE],
        evaluation=parts[EVALUATION_TYPE],
    )
    check_contents(contents)
    lock = _lock(parts)
    packages = packages_of(lock)
    check_sbom(parts[SBOM_TYPE], packages)
    return Bundle(digest=entry.digest, contents=contents, lock=lock, packages=packages, parts=parts)


def _lock(parts: Mapping[str, bytes]) -> Lock:
    try:
        node = parts[NODE_LOCK_TYPE].decode() if NODE_LOCK_TYPE in parts else None
        return Lock(
            python=parts[LOCK_TYPE].decode(), node=None if node is None else NodeLock(package="", lock=node)
        )
    except UnicodeDecodeError as error:
        raise BundleRefused(Refusal.MALFORMED, "the lock is no UTF-8") from error
