"""Signed statements as sigstore keeps them beside an artifact: a DSSE envelope in a sigstore bundle.

https://github.com/secure-systems-lab/dsse/blob/v1.0.2/envelope.md
https://github.com/sigstore/protobuf-specs/blob/v0.5.0/protos/sigstore_bundle.proto
"""

import base64
import binascii
from dataclasses import dataclass
from typing import Any, Final, cast

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from orchestrator_marketplace.refusals import BundleRefused, Refusal
from orchestrator_marketplace.signing_keys import is_signed, key_hint, sign
from orchestrator_runtimes.json_values import NotJson, dump, parse

STATEMENT_TYPE: Final = "application/vnd.dev.sigstore.bundle.v0.3+json"
STATEMENT_BYTES: Final = 1 * 2**20
PAYLOAD_TYPE: Final = "application/vnd.in-toto+json"


@dataclass(frozen=True, kw_only=True)
class Envelope:
    """A statement, and who says that they signed it; nobody has looked whether that is so.

    Attributes:
        payload: The statement's bytes.
        kind: What the payload is; it is signed with it, so that nothing can be taken for something else.
        signatures: Each a DER signature.
        hint: Which key it is of, as sigstore names keys; None when a certificate says it.
        certificate: Of the key; None when a hint names it.
    """

    payload: bytes
    kind: str
    signatures: tuple[bytes, ...]
    hint: str | None = None
    certificate: x509.Certificate | None = None

    def is_of(self, key: ec.EllipticCurvePublicKey) -> bool:
        """Tell whether a key signed the statement."""
        signed = _authenticated(self.payload, self.kind)
        return any(is_signed(key, signature, signed) for signature in self.signatures)


def seal(
    payload: bytes,
    key: ec.EllipticCurvePrivateKey,
    certificate: x509.Certificate | None = None,
    *,
    kind: str = PAYLOAD_TYPE,
) -> bytes:
    """Return a signed statement as it is stored.

    Args:
        payload: The statement's bytes.
        key: What signs it.
        certificate: Of the key; None when readers know the key itself.
        kind: What the payload is.
    """
    material: dict[str, Any] = (
        {"publicKey": {"hint": key_hint(key.public_key())}}
        if certificate is None
        else {"certificate": {"rawBytes": _encoded(certificate.public_bytes(serialization.Encoding.DER))}}
    )
    return dump(
        {
            "mediaType": STATEMENT_TYPE,
            "verificationMaterial": material,
            "dsseEnvelope": {
                "payload": _encoded(payload),
                "payloadType": kind,
                "signatures": [{"sig": _encoded(sign(key, _authenticated(payload, kind)))}],
            },
        }
    )


def open_envelope(content: bytes, kind: str = PAYLOAD_TYPE) -> Envelope:
    """Return what a stored statement of a kind holds.

    Raises:
        BundleRefused: `malformed`.
    """
    try:
        value = cast("Any", parse(content))
        envelope, material = value["dsseEnvelope"], value["verificationMaterial"]
        if value["mediaType"] != STATEMENT_TYPE or envelope["payloadType"] != kind:
            raise ValueError("another kind")
        raw = material.get("certificate", {}).get("rawBytes")
        return Envelope(
            payload=_decoded(envelope["payload"]),
            kind=kind,
            signatures=tuple(_decoded(one["sig"]) for one in envelope["signatures"][:4]),
            hint=material.get("publicKey", {}).get("hint"),
            certificate=None if raw is None else x509.load_der_x509_certificate(_decoded(raw)),
        )
    except (NotJson, ValueError, TypeError, KeyError, AttributeError) as error:
        raise BundleRefused(
            Refusal.MALFORMED, "a statement is no sigstore bundle with a DSSE envelope", cause=str(error)
        ) from error


def _authenticated(payload: bytes, kind: str) -> bytes:
    named = kind.encode()
    return b"DSSEv1 %d %s %d %s" % (len(named), named, len(payload), payload)


def _encoded(content: bytes) -> str:
    return base64.b64encode(content).decode()


def _decoded(text: object) -> bytes:
    if not isinstance(text, str):
        raise TypeError("no text")
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise ValueError("no base64") from error
