"""Signing bundles, and finding out whose they are."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec

from orchestrator_marketplace.bundle_artifacts import Bundle
from orchestrator_marketplace.envelopes import STATEMENT_BYTES, STATEMENT_TYPE, Envelope, open_envelope, seal
from orchestrator_marketplace.layouts import Layout
from orchestrator_marketplace.oci import EMPTY, EMPTY_CONFIG, MANIFEST, Descriptor, OciManifest
from orchestrator_marketplace.publishers import Publishers, publishers_of_certificate
from orchestrator_marketplace.refusals import BundleRefused, Refusal
from orchestrator_marketplace.signing_keys import key_hint
from orchestrator_marketplace.statements import (
    PROVENANCE,
    SIGNATURE,
    Source,
    Statement,
    moment_of,
    parse_statement,
    provenance_statement,
    signature_statement,
)

VALID_DAYS: Final = 365
_CLOCKS: Final = timedelta(minutes=5)
"""How far a publisher's clock may be ahead."""


@dataclass(frozen=True, kw_only=True)
class Signer:
    """Who signs.

    Attributes:
        key: Theirs.
        certificate: Of the key; None when readers know the key itself.
    """

    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate | None = None

    def __post_init__(self) -> None:
        """Refuse a certificate of another key."""
        if self.certificate is not None and self.certificate.public_key() != self.key.public_key():
            raise BundleRefused(
                Refusal.MALFORMED, "the certificate is of another key than the one that signs"
            )


@dataclass(frozen=True, kw_only=True)
class Verified:
    """Whose a bundle is.

    Attributes:
        publisher: Who signed it, which is whom its name belongs to.
        signed: When, as they say; None when they do not.
        expires: Until when it holds, and the certificate of its key; None when without end.
        provenance: How it came about, as they say.
    """

    publisher: str
    signed: datetime | None
    expires: datetime | None
    provenance: Statement


def sign_bundle(
    layout: Layout,
    bundle: Bundle,
    signer: Signer,
    now: datetime,
    *,
    days: int = VALID_DAYS,
    source: Source | None = None,
) -> tuple[Descriptor, ...]:
    """Put a signature and the provenance beside a bundle of a layout, and return them.

    Args:
        layout: Where the bundle is.
        bundle: As it was opened.
        signer: Who signs.
        now: When.
        days: For how long the signature holds.
        source: Where the bundle's folder came from; None when it is not told.
    """
    statements = (
        signature_statement(bundle.digest, now, now + timedelta(days=days)),
        provenance_statement(bundle, now, source),
    )
    return tuple(add_statement(layout, bundle.digest, statement, signer) for statement in statements)


def add_statement(layout: Layout, digest: str, statement: Statement, signer: Signer) -> Descriptor:
    """Put what somebody says of a bundle of a layout beside it, signed.

    Raises:
        BundleRefused: `oversized` when nobody would read it.
    """
    (subject,) = (one for one in layout.entries() if one.digest == digest)
    content = seal(statement.to_bytes(), signer.key, signer.certificate)
    if len(content) > STATEMENT_BYTES:
        raise BundleRefused(
            Refusal.OVERSIZED, f"{statement.kind}: {len(content)} bytes; the limit is {STATEMENT_BYTES}"
        )
    config = layout.add_blob(EMPTY_CONFIG, Descriptor.of(EMPTY_CONFIG, EMPTY))
    layer = layout.add_blob(content, Descriptor.of(content, STATEMENT_TYPE))
    return layout.add(
        OciManifest(
            artifact_type=STATEMENT_TYPE,
            config=config,
            layers=(layer,),
            subject=Descriptor(media_type=MANIFEST, digest=subject.digest, size=subject.size),
            annotations={
                "dev.sigstore.bundle.content": "dsse-envelope",
                "dev.sigstore.bundle.predicateType": statement.kind,
            },
        ).to_bytes()
    )


def verify_bundle(layout: Layout, bundle: Bundle, publishers: Publishers, now: datetime) -> Verified:
    """Return whose a bundle is, which must be the publisher that its name begins with.

    Raises:
        BundleRefused: `unsigned`, `tampered`, `expired`, `squatted`, `unproven`.
    """
    owner = bundle.contents.manifest.bundle_name.publisher
    found = _found(layout, bundle, publishers, now)
    said = found.of(owner)
    signatures = [(one, end) for one, end in said if one.kind == SIGNATURE]
    if not signatures:
        raise found.refusal(owner)
    holding = [(one, end) for one, end in signatures if _holds(one, now)]
    if not holding:
        raise BundleRefused(
            Refusal.EXPIRED,
            f"{bundle.digest}: the signature of {owner} held from {signatures[0][0].predicate.get('signedAt')}"
            f" to {signatures[0][0].predicate.get('expiresAt')}",
        )
    provenance = next((one for one, _ in said if one.kind == PROVENANCE), None)
    if provenance is None:
        raise BundleRefused(Refusal.UNPROVEN, f"{bundle.digest}: {owner} does not say how it came about")
    signature, end = holding[0]
    ends = [one for one in (moment_of(signature, "expiresAt"), end) if one is not None]
    return Verified(
        publisher=owner,
        signed=moment_of(signature, "signedAt"),
        expires=min(ends, default=None),
        provenance=provenance,
    )


def said_by_owner(
    layout: Layout, bundle: Bundle, publishers: Publishers, now: datetime
) -> Sequence[Statement]:
    """Return what the publisher of a bundle says of it, of whatever kind; empty where they say nothing."""
    owner = bundle.contents.manifest.bundle_name.publisher
    return [statement for statement, _ in _found(layout, bundle, publishers, now).of(owner)]


def _found(layout: Layout, bundle: Bundle, publishers: Publishers, now: datetime) -> "_Found":
    found = _Found(bundle.digest)
    for envelope in _envelopes(layout, bundle.digest):
        found.look(envelope, publishers, now)
    return found


class _Found:
    """What the statements beside a bundle come to."""

    def __init__(self, digest: str) -> None:
        self.digest = digest
        self.statements: list[tuple[str, Statement, datetime | None]] = []
        self.broken = 0
        self.expired: BundleRefused | None = None

    def look(self, envelope: Envelope, publishers: Publishers, now: datetime) -> None:
        try:
            signers = _signers(envelope, publishers, now)
        except BundleRefused as error:
            self.expired = error
            return
        if not signers:
            self.broken += envelope.hint in {key_hint(key) for _, key in publishers.keys}
            return
        statement = parse_statement(envelope.payload)
        if statement.subject != self.digest:
            self.broken += 1
            return
        certificate = envelope.certificate
        end = None if certificate is None else certificate.not_valid_after_utc
        self.statements += [(signer, statement, end) for signer in signers]

    def of(self, owner: str) -> list[tuple[Statement, datetime | None]]:
        """Return what a publisher says, each with the end of the certificate of its key; None where there is none."""
        return [(statement, end) for publisher, statement, end in self.statements if publisher == owner]

    def refusal(self, owner: str) -> BundleRefused:
        if self.broken:
            return BundleRefused(
                Refusal.TAMPERED, f"{self.digest}: the signature beside it is of something else"
            )
        if self.expired is not None:
            return self.expired
        others = sorted({signer for signer, _, _ in self.statements} - {owner})
        if others:
            return BundleRefused(
                Refusal.SQUATTED, f"{self.digest}: is named as {owner}'s, and signed by {', '.join(others)}"
            )
        return BundleRefused(Refusal.UNSIGNED, f"{self.digest}: no trusted publisher has signed it")


def _signers(envelope: Envelope, publishers: Publishers, now: datetime) -> tuple[str, ...]:
    certificate = envelope.certificate
    if certificate is None:
        return tuple(dict.fromkeys(name for name, key in publishers.keys if envelope.is_of(key)))
    try:
        key = certificate.public_key()
    except (ValueError, UnsupportedAlgorithm):
        return ()
    if not isinstance(key, ec.EllipticCurvePublicKey) or not envelope.is_of(key):
        return ()
    return publishers_of_certificate(publishers, certificate, now)


def _envelopes(layout: Layout, digest: str) -> Iterator[Envelope]:
    """Yield the statements that can be read; others are no harm, as anybody may put them there."""
    for entry in layout.referrers(digest):
        artifact = layout.manifest(entry)
        if [layer.media_type for layer in artifact.layers] == [STATEMENT_TYPE]:
            try:
                yield open_envelope(layout.blob(artifact.layers[0], STATEMENT_BYTES))
            except BundleRefused as error:
                if error.refusal is not Refusal.MALFORMED:
                    raise


def _holds(signature: Statement, now: datetime) -> bool:
    signed, expires = moment_of(signature, "signedAt"), moment_of(signature, "expiresAt")
    return (signed is None or signed <= now + _CLOCKS) and (expires is None or now < expires)
