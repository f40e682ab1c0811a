"""The checks between a submission and a person's look: a bundle is fetched, opened, verified; its code never runs."""

import logging
import tempfile
import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, cast

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from orchestrator_marketplace.acceptance import Accepted, accept_bundle
from orchestrator_marketplace.advisories import scan
from orchestrator_marketplace.evidence import evidence_of
from orchestrator_marketplace.layouts import Layout
from orchestrator_marketplace.marketplaces import Listing, MarketplaceError
from orchestrator_marketplace.names import parse_name
from orchestrator_marketplace.publishers import Publishers
from orchestrator_marketplace.reference_marketplace import Checked, ReferenceMarketplace
from orchestrator_marketplace.references import parse_reference
from orchestrator_marketplace.refusals import BundleRefused, Refusal
from orchestrator_marketplace.registries import Repository
from orchestrator_marketplace.signatures import said_by_owner
from orchestrator_marketplace.transfers import fetch_bundle
from orchestrator_runtimes.codec import encode
from orchestrator_runtimes.errors import AgentError

_LOG: Final = logging.getLogger(__name__)
_WAIT_SECONDS: Final = 1.0
"""Between looks for submissions."""
_PATIENCE: Final = timedelta(hours=1)
"""After which a submission is sent back whose registry does not answer."""
_MOST_TOLD: Final = 50


class PublicationChecks:
    """Checks what was submitted, one at a time.

    Args:
        marketplace: Whose submissions.
        advisories: A mirror of known weaknesses; None does not look.
        most_bytes: Longest bundle that is fetched; None takes what a bundle may be.
        open_repository: Makes the client of a registry.
        clock: The moment, with its zone.
    """

    def __init__(
        self,
        marketplace: ReferenceMarketplace,
        *,
        advisories: Path | None = None,
        most_bytes: int | None = None,
        open_repository: Callable[..., Repository] = Repository,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """Begin with nothing."""
        self._marketplace = marketplace
        self._advisories = advisories
        self._most_bytes = most_bytes
        self._open = open_repository
        self._clock = clock

    def run_until(self, ended: threading.Event) -> None:
        """Check whatever is submitted until an event is set; what a process that ended had begun is begun anew."""
        while not ended.is_set():
            try:
                self.run_once()
            except (
                MarketplaceError
            ) as error:  # the database is away: nothing is lost, and the next look goes on
                _LOG.warning("the checks wait: %s (%s)", error.message, error.cause)
            ended.wait(_WAIT_SECONDS)

    def run_once(self) -> int:
        """Check all that waits; return how many have an outcome. What a registry kept from being checked waits on."""
        done = 0
        with self._marketplace.catalogue.view() as view:
            waiting = view.in_checks()
        for listing in waiting:
            try:
                outcome: Checked | BundleRefused = self.check(listing)
            except BundleRefused as error:
                outcome = error
            except (AgentError, OSError) as error:
                later = isinstance(error, OSError) or error.code.retryable
                if later and self._clock() - datetime.fromisoformat(listing.changed) < _PATIENCE:
                    continue
                outcome = BundleRefused(Refusal.MALFORMED, str(error).partition("\n")[0])
            self._marketplace.checked(listing, outcome)
            done += 1
        return done

    def check(self, listing: Listing) -> Checked:
        """Return a submission with what its bundle says of itself, and what was seen of it.

        Raises:
            BundleRefused: Why it is not taken.
            RegistryUnavailable, RegistryDenied: It cannot be fetched.
        """
        reference = parse_reference(listing.reference)
        publisher = parse_name(listing.name).publisher
        keys = (load_pem_public_key(pem.encode()) for pem in self._marketplace.publisher(publisher).keys)
        trusted = Publishers(keys=tuple((publisher, cast("ec.EllipticCurvePublicKey", key)) for key in keys))
        with tempfile.TemporaryDirectory(prefix="checks-") as folder, self._open(reference) as repository:
            layout = Layout(Path(folder, "layout"))
            entry = fetch_bundle(repository, layout, most_bytes=self._most_bytes).entry
            now = self._clock()
            accepted = accept_bundle(layout, entry, trusted, now, reference=reference)
            said = said_by_owner(layout, accepted.bundle, trusted, now)
        manifest = accepted.bundle.contents.manifest
        if (manifest.name, manifest.version) != (listing.name, listing.version):
            raise BundleRefused(
                Refusal.SQUATTED,
                f"{reference} holds {manifest.name} {manifest.version}, submitted as {listing.name} {listing.version}",
            )
        documentation = accepted.bundle.contents.documentation.decode()
        if "\0" in documentation:
            raise BundleRefused(Refusal.MALFORMED, f"{reference}: the documentation has a NUL character")
        told = replace(
            listing,
            manifest=encode(manifest),
            documentation=documentation,
            findings=self._findings(accepted),
        )
        return Checked(listing=told, evidence=evidence_of(accepted, said))

    def _findings(self, accepted: Accepted) -> tuple[str, ...]:
        bundle, verified = accepted.bundle, accepted.verified
        expires = "without end" if verified.expires is None else f"until {verified.expires.isoformat()}"
        found = [
            f"signed by {verified.publisher}, {expires}",
            f"{len(bundle.packages)} packages, {len(bundle.contents.cases())} evaluation cases",
            f"asks for {', '.join(bundle.contents.manifest.permissions.asked()) or 'nothing'}",
        ]
        if self._advisories is not None:
            known = scan(bundle.packages, self._advisories).weaknesses
            found.append(f"{len(known)} known weaknesses")
            found += [
                f"{one.advisory} ({one.severity.word}) of {one.package.name} {one.package.version}"
                for one in known[:_MOST_TOLD]
            ]
        return tuple(found)
