"""What was published of a bundle, as whoever runs it asks for it: each version once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, Protocol

from orchestrator_marketplace.names import parse_version
from orchestrator_marketplace.oci import digest_of
from orchestrator_marketplace.references import Reference
from orchestrator_marketplace.refusals import BundleRefused
from orchestrator_marketplace.registries import Repository

MOST_AT_ONCE: Final = 20
"""Publishes that one look returns; the next look returns the next ones."""


@dataclass(frozen=True, kw_only=True)
class Publish:
    """A version of a bundle that is there.

    Attributes:
        reference: Where it is: with its version as the tag, and its digest.
    """

    reference: Reference

    def __post_init__(self) -> None:
        """Refuse a place that names no one version."""
        if self.reference.tag is None or self.reference.digest is None:
            raise ValueError("a publish has a version and a digest")

    @property
    def version(self) -> str:
        """Which version it is."""
        return self.reference.tag or ""

    @property
    def digest(self) -> str:
        """What it is pinned by."""
        return self.reference.digest or ""

    @property
    def id(self) -> str:
        """What names this publish and no other, wherever and how often it is told of."""
        return f"{self.reference.repository}:{self.version}@{self.digest}"


@dataclass(frozen=True, kw_only=True)
class Look:
    """What is there beyond what was seen.

    Attributes:
        publishes: New versions, the lowest first; at most `MOST_AT_ONCE`.
        withdrawn: Versions that were seen and are gone.
    """

    publishes: Sequence[Publish] = ()
    withdrawn: Sequence[str] = ()


class Publishes(Protocol):
    """Where publishes of one bundle are learned."""

    def look(self, seen: Mapping[str, str]) -> Look:
        """Return what is new.

        Args:
            seen: Digest of each version that is known.

        Raises:
            RegistryUnavailable, RegistryDenied: It cannot be told.
        """
        ...


class RegistryPublishes:
    """The versions of a bundle in a registry: what is pushed there is published, what is deleted withdrawn.

    Args:
        repository: Of the bundle.
        insecure: Whether a registry that is not on this machine is spoken to by plain HTTP.
    """

    def __init__(self, repository: Reference, *, insecure: bool = False) -> None:
        """Ask nothing yet."""
        self._place, self._insecure = repository, insecure

    def look(self, seen: Mapping[str, str]) -> Look:
        """Return what is new; see `Publishes`."""
        with Repository(self._place, insecure=self._insecure) as repository:
            tags = {tag for tag in repository.tags() if _is_version(tag)}
            new = sorted(tags - seen.keys(), key=parse_version)[:MOST_AT_ONCE]
            found = [(tag, repository.manifest(tag)) for tag in new]
        return Look(
            publishes=tuple(
                Publish(reference=replace(self._place, tag=tag, digest=digest_of(content)))
                for tag, content in found
                if content is not None
            ),
            withdrawn=tuple(sorted(seen.keys() - tags, key=parse_version)),
        )


def _is_version(tag: str) -> bool:
    try:
        parse_version(tag)
    except BundleRefused:
        return False
    return True
