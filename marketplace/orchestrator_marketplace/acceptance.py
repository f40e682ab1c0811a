"""Taking a bundle: every check in its order, nothing installed before the last."""

from dataclasses import dataclass
from datetime import datetime

from orchestrator_marketplace.bundle_artifacts import Bundle, open_bundle
from orchestrator_marketplace.installations import Installations
from orchestrator_marketplace.layouts import Layout
from orchestrator_marketplace.oci import Descriptor
from orchestrator_marketplace.publishers import Publishers
from orchestrator_marketplace.references import Reference
from orchestrator_marketplace.refusals import BundleRefused, Refusal
from orchestrator_marketplace.signatures import Verified, verify_bundle


@dataclass(frozen=True, kw_only=True)
class Accepted:
    """A bundle that is taken.

    Attributes:
        bundle: What it is.
        verified: Whose it is.
    """

    bundle: Bundle
    verified: Verified


def accept_bundle(
    layout: Layout,
    entry: Descriptor,
    publishers: Publishers,
    now: datetime,
    *,
    reference: Reference | None = None,
    installations: Installations | None = None,
    lower: bool = False,
) -> Accepted:
    """Return a bundle that is whole, its publisher's, the one that was asked for, and not older than what was here.

    Args:
        layout: Where it was fetched to.
        entry: Which one.
        publishers: Who is trusted.
        now: When.
        reference: What was asked for; None does not compare.
        installations: What was here before; None does not compare.
        lower: Whether a lower version is meant.

    Raises:
        BundleRefused: Why it is not taken, by name.
    """
    bundle = open_bundle(layout, entry)
    if reference is not None:
        check_name(bundle, reference)
    verified = verify_bundle(layout, bundle, publishers, now)
    if installations is not None:
        installations.check(bundle, lower=lower)
    return Accepted(bundle=bundle, verified=verified)


def check_name(bundle: Bundle, reference: Reference) -> None:
    """Refuse a bundle that says it is another than the one that was asked for.

    Raises:
        BundleRefused: `squatted` for another name, `moved_tag` for another version.
    """
    manifest = bundle.contents.manifest
    if not f"/{reference.repository}".endswith(f"/{manifest.name}"):
        raise BundleRefused(Refusal.SQUATTED, f"{reference} holds {manifest.name}: another was asked for")
    if reference.tag is not None and reference.tag != manifest.version:
        raise BundleRefused(
            Refusal.MOVED_TAG, f"{reference} holds version {manifest.version}: another was asked for"
        )
