"""What was published of a bundle, as whoever runs it asks for it: each version once."""

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, Protocol

from orchestrator_marketplace.marketplace_client import HttpMarketplace
from orchestrator_marketplace.marketplaces import Listing, MarketplaceError, Problem
from orchestrator_marketplace.names import BundleName, parse_version
from orchestrator_marketplace.oci import digest_of
from orchestrator_marketplace.references import Reference, parse_reference
from orchestrator_marketplace.refusals import BundleRefused
from orchestrator_marketplace.registries import Repository
from orchestrator_marketplace.workflow import State

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
        publishes: New versions, the lowest first; at most `MOST_AT_ONCE`, of a first look the highest.
        older: At a first look, versions that are lower than those.
        withdrawn: Versions that were seen and are gone.
    """

    publishes: Sequence[Publish] = ()
    older: Sequence[str] = ()
    withdrawn: Sequence[str] = ()


class Publishes(Protocol):
    """Where publishes of one bundle are learned."""

    def look(self, seen: Mapping[str, str] | None) -> Look:
        """Return what is new.

        Args:
            seen: Digest of each version that is known; None at the first look.

        Raises:
            AgentError: It cannot be told.
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

    def look(self, seen: Mapping[str, str] | None) -> Look:
        """Return what is new; see `Publishes`."""
        known = seen or {}
        with Repository(self._place, insecure=self._insecure) as repository:
            tags = {tag for tag in repository.tags() if _is_version(tag)}
            older, new = _page(sorted(tags - known.keys(), key=parse_version), first=seen is None)
            found = [(tag, repository.manifest(tag)) for tag in new]
        return Look(
            publishes=tuple(
                Publish(reference=replace(self._place, tag=tag, digest=digest_of(content)))
                for tag, content in found
                if content is not None
            ),
            older=older,
            withdrawn=tuple(sorted(known.keys() - tags, key=parse_version)),
        )


class MarketplacePublishes:
    """The versions of a bundle that a marketplace lists: those that are published, and those that were withdrawn.

    What is deprecated is nothing to begin with, and goes on where it runs.

    Args:
        url: Of the marketplace.
        name: Of the bundle.
    """

    def __init__(self, url: str, name: BundleName) -> None:
        """Ask nothing yet."""
        self._url, self._name = url, name

    def look(self, seen: Mapping[str, str] | None) -> Look:
        """Return what is new; see `Publishes`."""
        with contextlib.closing(HttpMarketplace(self._url)) as marketplace:
            try:
                listings = marketplace.versions(str(self._name))
            except MarketplaceError as error:
                if error.problem is not Problem.NOT_FOUND:
                    raise
                listings = ()
        known = seen or {}
        new = {one.version: one for one in listings if one.state is State.PUBLISHED}
        older, page = _page(sorted(new.keys() - known.keys(), key=parse_version), first=seen is None)
        gone = {one.version for one in listings if one.state is State.WITHDRAWN and one.version in known}
        return Look(
            publishes=tuple(_publish(new[version]) for version in page),
            older=older,
            withdrawn=tuple(sorted(gone, key=parse_version)),
        )


def _page(versions: Sequence[str], *, first: bool) -> tuple[Sequence[str], Sequence[str]]:
    """Return the older versions that a look passes over, and those that it returns."""
    return (versions[:-MOST_AT_ONCE], versions[-MOST_AT_ONCE:]) if first else ((), versions[:MOST_AT_ONCE])


def _publish(listing: Listing) -> Publish:
    reference = parse_reference(listing.reference)
    return Publish(reference=replace(reference, tag=listing.version, digest=listing.digest))


def _is_version(tag: str) -> bool:
    try:
        parse_version(tag)
    except BundleRefused:
        return False
    return True
