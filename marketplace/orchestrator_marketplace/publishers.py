"""Who is trusted to publish, as an operator writes it down: publishers, their keys, their certificates' names.

publishers:
acme:
keys: [keys/acme.pub]
identities: [{name: release@acme.example, issuer: https://accounts.acme.example}]
authorities: [root.pem]
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID

from orchestrator_marketplace.names import is_part, skeleton
from orchestrator_marketplace.refusals import BundleRefused, Refusal
from orchestrator_marketplace.signing_keys import load_public_key
from orchestrator_marketplace.strict_yaml import read_yaml

_ISSUER: Final = x509.ObjectIdentifier("1.3.6.1.4.1.57264.1.8")
"""Fulcio's: who signed a person in; https://github.com/sigstore/fulcio/blob/v1.7.1/docs/oid-info.md."""


@dataclass(frozen=True, kw_only=True)
class Identity:
    """A name in certificates.

    Attributes:
        name: A mail address or URI of the certificate, whole.
        issuer: Who vouched for it; None takes whoever the authority believed.
    """

    name: str
    issuer: str | None = None


@dataclass(frozen=True, kw_only=True)
class PublisherSettings:
    """A publisher.

    Attributes:
        keys: Files of public keys, relative to the settings.
        identities: Names in certificates of the authorities.
    """

    keys: tuple[str, ...] = ()
    identities: tuple[Identity, ...] = ()


@dataclass(frozen=True, kw_only=True)
class TrustSettings:
    """See the module.

    Attributes:
        publishers: By the name that their bundles begin with.
        authorities: Files of certificates, relative to the settings, that sign publishers' certificates.
    """

    publishers: Mapping[str, PublisherSettings]
    authorities: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse names that are none, or could be taken for one another."""
        seen: dict[str, str] = {}
        for name in self.publishers:
            if not is_part(name):
                raise ValueError(f"publishers: {name!r:.80} is no name of a publisher")
            if (other := seen.setdefault(skeleton(name), name)) != name:
                raise ValueError(f"publishers: {name!r} looks like {other!r}: keep one of them")


@dataclass(frozen=True, kw_only=True)
class Publishers:
    """Who is trusted.

    Attributes:
        keys: Publishers and their keys.
        identities: Publishers and their names in certificates.
        authorities: Whose certificates count.
    """

    keys: tuple[tuple[str, ec.EllipticCurvePublicKey], ...]
    identities: tuple[tuple[str, Identity], ...] = ()
    authorities: tuple[x509.Certificate, ...] = field(default=())

    def digest(self) -> str:
        """Return what is another one when others are trusted, or others are trusted less; 64 hexadecimal digits."""
        keys = sorted(
            (name, key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo).hex())
            for name, key in self.keys
        )
        identities = sorted((name, one.name, one.issuer or "") for name, one in self.identities)
        authorities = sorted(one.fingerprint(hashes.SHA256()).hex() for one in self.authorities)
        return hashlib.sha256(repr((keys, identities, authorities)).encode()).hexdigest()


def read_publishers(file: Path) -> Publishers:
    """Return who a file trusts.

    Raises:
        BundleRefused: `malformed`, with the file and what to change.
    """
    settings = read_yaml(TrustSettings, file)
    pairs = sorted(settings.publishers.items())
    return Publishers(
        keys=tuple(
            (name, load_public_key(file.parent / key)) for name, publisher in pairs for key in publisher.keys
        ),
        identities=tuple((name, identity) for name, publisher in pairs for identity in publisher.identities),
        authorities=tuple(_authority(file.parent / name) for name in settings.authorities),
    )


def _authority(file: Path) -> x509.Certificate:
    try:
        certificate = x509.load_pem_x509_certificate(file.read_bytes())
        constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
    except (OSError, ValueError, x509.ExtensionNotFound) as error:
        raise BundleRefused(
            Refusal.MALFORMED, f"{file}: is no certificate of an authority", cause=str(error)
        ) from error
    if not constraints.ca:
        raise BundleRefused(Refusal.MALFORMED, f"{file}: is a certificate that may sign no other")
    return certificate


def publishers_of_certificate(
    publishers: Publishers, certificate: x509.Certificate, now: datetime
) -> tuple[str, ...]:
    """Return whose certificate it is; nobody's when no authority signed it, or it names nobody who is trusted.

    There is no witness of when a bundle was signed, so the certificate has to hold now.

    Raises:
        BundleRefused: `expired` when an authority signed it for another time.
    """
    signed = [one for one in publishers.authorities if _is_issued_by(certificate, one)]
    if not signed or not _may_sign(certificate):
        return ()
    if not any(_holds(certificate, now) and _holds(one, now) for one in signed):
        raise BundleRefused(
            Refusal.EXPIRED,
            f"the certificate holds from {certificate.not_valid_before_utc} to {certificate.not_valid_after_utc}",
        )
    names, issuer = _names(certificate), _issuer(certificate)
    return tuple(
        publisher
        for publisher, identity in publishers.identities
        if identity.name in names and identity.issuer in (None, issuer)
    )


def _holds(certificate: x509.Certificate, now: datetime) -> bool:
    return certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc


def _is_issued_by(certificate: x509.Certificate, authority: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(authority)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True


def _may_sign(certificate: x509.Certificate) -> bool:
    try:
        usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except (x509.ExtensionNotFound, ValueError):
        return False
    return ExtendedKeyUsageOID.CODE_SIGNING in usage


def _names(certificate: x509.Certificate) -> frozenset[str]:
    try:
        named = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, ValueError):
        return frozenset()
    return frozenset(
        (
            *named.get_values_for_type(x509.RFC822Name),
            *named.get_values_for_type(x509.UniformResourceIdentifier),
        )
    )


def _issuer(certificate: x509.Certificate) -> str | None:
    try:
        value = certificate.extensions.get_extension_for_oid(_ISSUER).value
    except (x509.ExtensionNotFound, ValueError):
        return None
    encoded = value.value if isinstance(value, x509.UnrecognizedExtension) else b""
    # DER of a UTF8String shorter than 128 bytes
    short = len(encoded) > 2 and encoded[0] == 0x0C and encoded[1] == len(encoded) - 2 < 128
    return encoded[2:].decode(errors="replace") if short else None
