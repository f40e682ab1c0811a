"""Bundles between layouts and registries, with what is said about them: signatures, provenance."""

from dataclasses import dataclass
from typing import Final

from orchestrator_marketplace.bundle_artifacts import check_parts
from orchestrator_marketplace.envelopes import STATEMENT_BYTES, STATEMENT_TYPE
from orchestrator_marketplace.layouts import Layout
from orchestrator_marketplace.oci import Descriptor, OciManifest, parse_oci_manifest
from orchestrator_marketplace.refusals import BundleRefused, Refusal
from orchestrator_marketplace.registries import Repository
from orchestrator_marketplace.registry_errors import RegistryDenied

MOST_STATEMENTS: Final = 32
"""Statements about one bundle that are looked at: anybody who may push can add some."""


@dataclass(frozen=True, kw_only=True)
class Transfer:
    """What was moved.

    Attributes:
        entry: The bundle.
        moved: Blobs that were sent or fetched.
        kept: Blobs that were there already.
    """

    entry: Descriptor
    moved: int
    kept: int


def push_bundle(layout: Layout, entry: Descriptor, repository: Repository) -> Transfer:
    """Store a bundle and what is said about it, and give it its tag last: whoever sees the tag sees all of it.

    Raises:
        BundleRefused: `moved_tag` when the tag is that of another bundle.
        RegistryUnavailable, RegistryDenied: It cannot be stored; what was is kept, and the next push goes on.
    """
    content = layout.blob(entry, entry.size)
    tag = repository.reference.tag
    there = None if tag is None else repository.manifest(tag)
    if there is not None and there != content:
        raise BundleRefused(
            Refusal.MOVED_TAG, f"{repository.reference} is another bundle already: raise the version"
        )
    moved = kept = 0
    statements = layout.referrers(entry.digest)
    for one in (entry, *statements):
        artifact = layout.manifest(one)
        for blob in (artifact.config, *artifact.layers):
            sent = repository.upload(layout.blob(blob, blob.size), blob)
            moved, kept = moved + sent, kept + (not sent)
    repository.put_manifest(content, entry.digest)
    for statement in statements:
        repository.add_referrer(layout.blob(statement, statement.size), statement, entry.digest)
    if tag is not None:
        repository.put_manifest(content, tag)
    return Transfer(entry=entry, moved=moved, kept=kept)


def fetch_bundle(repository: Repository, layout: Layout, *, most_bytes: int | None = None) -> Transfer:
    """Fetch a bundle and the statements about it into a layout; nothing of it is believed yet.

    A layout that an earlier try left is gone on with.

    Args:
        repository: Where it is.
        layout: Where it is put.
        most_bytes: Of all its parts; None takes what a bundle may be.

    Raises:
        BundleRefused: It is longer, or none, or not that of the digest that was asked for.
        RegistryUnavailable, RegistryDenied: It cannot be had.
    """
    reference = repository.reference
    content = repository.manifest(reference.asked)
    if content is None:
        raise RegistryDenied(f"{reference}: there is none")
    artifact = parse_oci_manifest(content)
    check_parts(artifact)
    size = sum(blob.size for blob in (artifact.config, *artifact.layers))
    if most_bytes is not None and size > most_bytes:
        raise BundleRefused(Refusal.OVERSIZED, f"{reference} has {size} bytes; {most_bytes} are taken here")
    moved, kept = _fetch_blobs(repository, layout, artifact)
    entry = layout.add(content, tag=reference.tag)
    for statement in _statements(repository, entry):
        told = repository.manifest(statement.digest)
        if told is None:
            continue
        about = parse_oci_manifest(told)
        if _is_statement(about, entry):
            more, there = _fetch_blobs(repository, layout, about)
            moved, kept = moved + more, kept + there
            layout.add(told)
    return Transfer(entry=entry, moved=moved, kept=kept)


def _fetch_blobs(repository: Repository, layout: Layout, artifact: OciManifest) -> tuple[int, int]:
    moved = kept = 0
    for blob in (artifact.config, *artifact.layers):
        file = layout.blob_file(blob.digest)
        if file.exists():
            kept += 1
        else:
            repository.download(blob, file)
            moved += 1
    return moved, kept


def _statements(repository: Repository, entry: Descriptor) -> tuple[Descriptor, ...]:
    found = [one for one in repository.referrers(entry.digest) if one.artifact_type in (STATEMENT_TYPE, None)]
    if len(found) > MOST_STATEMENTS:
        raise BundleRefused(
            Refusal.OVERSIZED, f"{len(found)} statements about {entry.digest}; the limit is {MOST_STATEMENTS}"
        )
    return tuple(found)


def _is_statement(artifact: OciManifest, entry: Descriptor) -> bool:
    return (
        artifact.artifact_type == STATEMENT_TYPE
        and artifact.subject is not None
        and artifact.subject.digest == entry.digest
        and [layer.media_type for layer in artifact.layers] == [STATEMENT_TYPE]
        and sum(blob.size for blob in (artifact.config, *artifact.layers)) <= STATEMENT_BYTES
    )
