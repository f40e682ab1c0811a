"""The few words of OCI that bundles are told in: digests, descriptors, image manifests.

https://github.com/opencontainers/image-spec/blob/v1.1.1/manifest.md
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, cast

from orchestrator_marketplace.refusals import BundleRefused, Refusal
from orchestrator_runtimes.json_values import Json, NotJson, dump, parse

MANIFEST: Final = "application/vnd.oci.image.manifest.v1+json"
INDEX: Final = "application/vnd.oci.image.index.v1+json"
EMPTY: Final = "application/vnd.oci.empty.v1+json"
MANIFEST_BYTES: Final = 1 * 2**20
TITLE: Final = "org.opencontainers.image.title"
"""Annotation of a layer: the file's name, where it is one."""
REF_NAME: Final = "org.opencontainers.image.ref.name"
"""Annotation of an entry of a layout's index: its tag."""

_DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}")
_MOST_LAYERS: Final = 100


def digest_of(content: bytes) -> str:
    """Return `sha256:` and the digest of bytes."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def is_digest(text: str) -> bool:
    """Tell whether a text is a digest; it is the only kind that is taken."""
    return _DIGEST.fullmatch(text) is not None


@dataclass(frozen=True, kw_only=True)
class Descriptor:
    """What is where.

    Attributes:
        media_type: What the bytes are.
        digest: Of the bytes.
        size: Of the bytes, in bytes.
        artifact_type: Of the manifest that is described; None when it is none.
        annotations: Texts by name.
    """

    media_type: str
    digest: str
    size: int
    artifact_type: str | None = None
    annotations: Mapping[str, str] = field(default_factory=dict[str, str])

    @classmethod
    def of(
        cls, content: bytes, media_type: str, *, artifact_type: str | None = None, **annotations: str
    ) -> "Descriptor":
        """Describe bytes."""
        return cls(
            media_type=media_type,
            digest=digest_of(content),
            size=len(content),
            artifact_type=artifact_type,
            annotations=annotations,
        )

    def to_json(self) -> dict[str, Json]:
        """Return it as OCI writes it."""
        told: dict[str, Json] = {"mediaType": self.media_type, "digest": self.digest, "size": self.size}
        if self.artifact_type is not None:
            told["artifactType"] = self.artifact_type
        if self.annotations:
            told["annotations"] = dict(sorted(self.annotations.items()))
        return told

    def check(self, content: bytes) -> bytes:
        """Return bytes that are those that are described.

        Raises:
            BundleRefused: `tampered`.
        """
        if len(content) != self.size or digest_of(content) != self.digest:
            raise BundleRefused(Refusal.TAMPERED, f"the bytes of {self.digest} are others")
        return content


EMPTY_CONFIG: Final = b"{}"


@dataclass(frozen=True, kw_only=True)
class OciManifest:
    """An artifact.

    Attributes:
        artifact_type: What it is.
        config: Its main description.
        layers: Its parts.
        subject: What it says something about; None when it stands for itself.
        annotations: Texts by name.
    """

    artifact_type: str
    config: Descriptor
    layers: tuple[Descriptor, ...]
    subject: Descriptor | None = None
    annotations: Mapping[str, str] = field(default_factory=dict[str, str])

    def to_bytes(self) -> bytes:
        """Return it as it is stored: the same artifact is the same bytes."""
        told: dict[str, Json] = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "artifactType": self.artifact_type,
            "config": self.config.to_json(),
            "layers": [layer.to_json() for layer in self.layers],
        }
        if self.subject is not None:
            told["subject"] = self.subject.to_json()
        if self.annotations:
            told["annotations"] = dict(sorted(self.annotations.items()))
        return dump(told)


def parse_oci_manifest(content: bytes) -> OciManifest:
    """Return the artifact that bytes describe.

    Raises:
        BundleRefused: `oversized`, `malformed`.
    """
    if len(content) > MANIFEST_BYTES:
        raise BundleRefused(
            Refusal.OVERSIZED, f"an artifact's manifest is longer than {MANIFEST_BYTES} bytes"
        )
    value = _object(content)
    if value.get("schemaVersion") != 2 or value.get("mediaType", MANIFEST) != MANIFEST:
        raise BundleRefused(
            Refusal.MALFORMED, f"not an OCI image manifest but {value.get('mediaType')!r:.100}"
        )
    config, layers = parse_descriptor(value.get("config")), _list(value.get("layers"))
    if len(layers) > _MOST_LAYERS:
        raise BundleRefused(
            Refusal.OVERSIZED, f"an artifact has {len(layers)} parts; the limit is {_MOST_LAYERS}"
        )
    artifact_type = value.get("artifactType", config.media_type)
    if not isinstance(artifact_type, str):
        raise BundleRefused(Refusal.MALFORMED, "artifactType is no text")
    return OciManifest(
        artifact_type=artifact_type,
        config=config,
        layers=tuple(parse_descriptor(layer) for layer in layers),
        subject=None if value.get("subject") is None else parse_descriptor(value["subject"]),
        annotations=_annotations(value.get("annotations")),
    )


def parse_index(content: bytes) -> tuple[Descriptor, ...]:
    """Return what an index lists.

    Raises:
        BundleRefused: `malformed`.
    """
    return tuple(parse_descriptor(entry) for entry in _list(_object(content).get("manifests")))


def parse_tags(content: bytes) -> tuple[str, ...]:
    """Return the tags of a registry's list.

    Raises:
        BundleRefused: `malformed`.
    """
    tags = _object(content).get("tags")
    return tuple(str(tag) for tag in ([] if tags is None else _list(tags)))


def index_bytes(entries: tuple[Descriptor, ...]) -> bytes:
    """Return an index of manifests."""
    return dump({"schemaVersion": 2, "mediaType": INDEX, "manifests": [entry.to_json() for entry in entries]})


def parse_descriptor(value: Any) -> Descriptor:
    """Return a descriptor of JSON.

    Raises:
        BundleRefused: `malformed`.
    """
    match value:
        case {"mediaType": str(media_type), "digest": str(digest), "size": int(size)} if (
            is_digest(digest) and size >= 0 and not isinstance(size, bool)
        ):
            kind = value.get("artifactType")
            return Descriptor(
                media_type=media_type,
                digest=digest,
                size=size,
                artifact_type=kind if isinstance(kind, str) else None,
                annotations=_annotations(value.get("annotations")),
            )
        case _:
            raise BundleRefused(
                Refusal.MALFORMED, f"a descriptor lacks media type, sha256 digest or size: {value!r:.200}"
            )


def _object(content: bytes) -> dict[str, Any]:
    try:
        value = parse(content)
    except NotJson as error:
        raise BundleRefused(
            Refusal.MALFORMED, "an artifact's manifest is no JSON", cause=str(error)
        ) from error
    if not isinstance(value, dict):
        raise BundleRefused(Refusal.MALFORMED, "an artifact's manifest is no JSON object")
    return cast("dict[str, Any]", value)


def _list(value: object) -> list[object]:
    if not isinstance(value, list):
        raise BundleRefused(Refusal.MALFORMED, "a list of an artifact's manifest is none")
    return cast("list[object]", value)


def _annotations(value: Any) -> dict[str, str]:
    pairs = cast("dict[str, Any]", value) if isinstance(value, dict) else {}
    return {key: text for key, text in pairs.items() if isinstance(text, str)}
