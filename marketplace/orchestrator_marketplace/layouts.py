"""An OCI image layout: artifacts as files of a folder, as `oras`, `skopeo` and `cosign` read it.

https://github.com/opencontainers/image-spec/blob/v1.1.1/image-layout.md
"""

import os
import stat
import tempfile
from pathlib import Path
from typing import Final

from orchestrator_marketplace.oci import (
    MANIFEST,
    MANIFEST_BYTES,
    REF_NAME,
    Descriptor,
    OciManifest,
    index_bytes,
    parse_index,
    parse_oci_manifest,
)
from orchestrator_marketplace.refusals import BundleRefused, Refusal

_MARK: Final = b'{"imageLayoutVersion":"1.0.0"}'
_INDEX_BYTES: Final = 4 * 2**20


class Layout:
    """A folder of artifacts; one process at a time writes it.

    Args:
        folder: An empty or missing one becomes a layout with the first artifact.
    """

    def __init__(self, folder: Path) -> None:
        """Use a folder."""
        self.folder = folder

    def blob_file(self, digest: str) -> Path:
        """Return where the bytes of a digest are, or would be."""
        return self.folder / "blobs" / "sha256" / digest.removeprefix("sha256:")

    def add_blob(self, content: bytes, descriptor: Descriptor) -> Descriptor:
        """Keep bytes, which must be those of the descriptor; return it."""
        file = self.blob_file(descriptor.digest)
        if not file.exists():
            _write(file, descriptor.check(content))
        return descriptor

    def add(self, manifest: bytes, *, tag: str | None = None) -> Descriptor:
        """Keep an artifact whose parts are kept already, and list it.

        Args:
            manifest: The artifact's.
            tag: A name for it, which another artifact then has no longer; None lists it without one.
        """
        parsed = parse_oci_manifest(manifest)
        annotations = {} if tag is None else {REF_NAME: tag}
        entry = Descriptor.of(manifest, MANIFEST, artifact_type=parsed.artifact_type, **annotations)
        self.add_blob(manifest, entry)
        others = [
            one
            for one in self.entries()
            if one.digest != entry.digest and (tag is None or one.annotations.get(REF_NAME) != tag)
        ]
        if not (self.folder / "oci-layout").exists():
            _write(self.folder / "oci-layout", _MARK)
        _write(self.folder / "index.json", index_bytes((*others, entry)))
        return entry

    def entries(self) -> tuple[Descriptor, ...]:
        """Return the artifacts that are listed; none where there is no layout.

        Raises:
            BundleRefused: `malformed`, `oversized`, `link`.
        """
        index = self.folder / "index.json"
        return parse_index(read_file(index, _INDEX_BYTES)) if os.path.lexists(index) else ()

    def blob(self, descriptor: Descriptor, most: int) -> bytes:
        """Return the bytes of a descriptor, which are at most `most`.

        Raises:
            BundleRefused: `oversized`, `tampered`, `link`, `malformed` when they are not there.
        """
        if descriptor.size > most:
            raise BundleRefused(
                Refusal.OVERSIZED,
                f"{descriptor.media_type} of {descriptor.size} bytes; the limit is {most} bytes",
            )
        return descriptor.check(read_file(self.blob_file(descriptor.digest), descriptor.size))

    def manifest(self, entry: Descriptor) -> OciManifest:
        """Return an artifact.

        Raises:
            BundleRefused: See `blob`.
        """
        return parse_oci_manifest(self.blob(entry, MANIFEST_BYTES))

    def only(self, artifact_type: str) -> Descriptor:
        """Return the one artifact of a type.

        Raises:
            BundleRefused: `malformed` when there is none, or several.
        """
        found = [one for one in self.entries() if self._type_of(one) == artifact_type]
        if len(found) != 1:
            raise BundleRefused(
                Refusal.MALFORMED, f"{self.folder}: holds {len(found)} bundles where one is expected"
            )
        return found[0]

    def referrers(self, subject: str) -> tuple[Descriptor, ...]:
        """Return the artifacts that say something about the one of a digest."""
        found: list[Descriptor] = []
        for entry in self.entries():
            about = self.manifest(entry).subject
            if about is not None and about.digest == subject:
                found.append(entry)
        return tuple(found)

    def _type_of(self, entry: Descriptor) -> str:
        return entry.artifact_type or self.manifest(entry).artifact_type


def read_file(file: Path, most: int) -> bytes:
    """Return the bytes of a plain file that nobody made a link.

    Raises:
        BundleRefused: `link`, `oversized`, `malformed` when it is not there.
    """
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError as error:
        raise BundleRefused(Refusal.MALFORMED, f"{file}: is missing") from error
    except OSError as error:
        raise BundleRefused(
            Refusal.LINK, f"{file}: is a link, or cannot be read: {error.strerror}"
        ) from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise BundleRefused(Refusal.LINK, f"{file}: is no plain file")
    with open(descriptor, "rb") as opened:
        content = opened.read(most + 1)
    if len(content) > most:
        raise BundleRefused(Refusal.OVERSIZED, f"{file}: longer than {most} bytes")
    return content


def _write(file: Path, content: bytes) -> None:
    """Write a file so that nobody ever reads half of it."""
    file.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}-")
    try:
        with open(descriptor, "wb") as opened:
            opened.write(content)
            os.fchmod(descriptor, 0o644)
        Path(name).rename(file)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
