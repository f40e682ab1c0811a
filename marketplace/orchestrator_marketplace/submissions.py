"""Opening the review of a version that was pushed, once."""

from datetime import UTC, datetime
from urllib.parse import urlsplit

from cryptography.hazmat.primitives.asymmetric import ec

from orchestrator_marketplace.actions import Action, moment, new_id, seal_action
from orchestrator_marketplace.manifests import Manifest
from orchestrator_marketplace.marketplaces import Listing, Marketplace, MarketplaceError, Problem
from orchestrator_marketplace.references import Reference
from orchestrator_marketplace.workflow import State


def marketplace_name(url: str) -> str:
    """Return the name by which actions say that they are for a marketplace: the host in its address."""
    return urlsplit(url).netloc


def submit_version(
    marketplace: Marketplace,
    name: str,
    manifest: Manifest,
    reference: Reference,
    key: ec.EllipticCurvePrivateKey,
) -> tuple[Listing, bool]:
    """Submit a version unless it is on its way already; return it as it is, and whether it was submitted now.

    Args:
        marketplace: Where.
        name: Of the marketplace; see `marketplace_name`.
        manifest: Of the bundle.
        reference: Where the bundle is, with its digest.
        key: Of the publisher.

    Raises:
        MarketplaceError: `conflict` when the version is there with other bytes; whatever the marketplace refuses.
    """
    there = _version(marketplace, manifest)
    if there is not None and there.state is not State.DRAFT:
        if there.digest != reference.digest:
            raise MarketplaceError(
                Problem.CONFLICT,
                f"{manifest.name} {manifest.version} is {there.state} there with other bytes: raise the version",
            )
        return there, False
    parsed = manifest.bundle_name
    action = Action(
        marketplace=name,
        id=new_id(),
        at=moment(datetime.now(UTC)),
        kind="submit",
        publisher=parsed.publisher,
        agent=parsed.agent,
        version=manifest.version,
        reference=str(reference),
    )
    listing = marketplace.act(seal_action(action, key))
    if listing is None:
        raise MarketplaceError(Problem.UNAVAILABLE, "the marketplace does not say what it submitted")
    return listing, True


def _version(marketplace: Marketplace, manifest: Manifest) -> Listing | None:
    try:
        return marketplace.version(manifest.name, manifest.version)
    except MarketplaceError as error:
        if error.problem is not Problem.NOT_FOUND:
            raise
        return None
