"""Keys that bundles are signed with: ECDSA on P-256 with SHA-256, as PEM files that cosign and OpenSSL read, too."""

import base64
import hashlib
import os
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from orchestrator_marketplace.refusals import BundleRefused, Refusal

PASSWORD: Final = "ORCHESTRATOR_BUNDLE_KEY_PASSWORD"
"""Variable with the password of a private key that has one."""

_KEY_BYTES: Final = 64 * 2**10
_HASH: Final = ec.ECDSA(hashes.SHA256())


def write_key_pair(private: Path, public: Path) -> None:
    """Make a key; its private file is for its owner alone, and encrypted where the variable has a password.

    Raises:
        FileExistsError: A file is there already.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    password = os.environ.get(PASSWORD, "").encode()
    encryption = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    content = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)
    with open(os.open(private, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as file:
        file.write(content)
    with public.open("xb") as file:
        file.write(public_pem(key.public_key()))


def public_pem(key: ec.EllipticCurvePublicKey) -> bytes:
    """Return a public key as a PEM file holds it."""
    return key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def key_hint(key: ec.EllipticCurvePublicKey) -> str:
    """Return what names a key, as sigstore does: base64 of the digest of its public part."""
    encoded = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return base64.b64encode(hashlib.sha256(encoded).digest()).decode()


def load_private_key(file: Path) -> ec.EllipticCurvePrivateKey:
    """Return the key of a file.

    Raises:
        BundleRefused: `malformed`, when it is none of this kind, or its password is not in the variable.
    """
    password = os.environ.get(PASSWORD, "").encode()
    content = _read(file)
    try:
        try:
            key = serialization.load_pem_private_key(content, password or None)
        except TypeError:
            if not password:
                raise
            key = serialization.load_pem_private_key(content, None)  # it has no password, and needs none
    except (ValueError, TypeError) as error:
        raise BundleRefused(
            Refusal.MALFORMED, f"{file}: is no private key, or its password is not in {PASSWORD}"
        ) from error
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise BundleRefused(
            Refusal.MALFORMED, f"{file}: is no key of P-256: make one with `orchestrator bundle key`"
        )
    return key


def load_public_key(file: Path) -> ec.EllipticCurvePublicKey:
    """Return the key of a file.

    Raises:
        BundleRefused: `malformed`, when it is none of this kind.
    """
    try:
        key = serialization.load_pem_public_key(_read(file))
    except ValueError as error:
        raise BundleRefused(Refusal.MALFORMED, f"{file}: is no public key as PEM") from error
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise BundleRefused(Refusal.MALFORMED, f"{file}: is no key of P-256")
    return key


def load_certificate(file: Path) -> x509.Certificate:
    """Return the certificate of a file.

    Raises:
        BundleRefused: `malformed`, when it is none.
    """
    try:
        return x509.load_pem_x509_certificate(_read(file))
    except ValueError as error:
        raise BundleRefused(Refusal.MALFORMED, f"{file}: is no certificate as PEM") from error


def sign(key: ec.EllipticCurvePrivateKey, content: bytes) -> bytes:
    """Return a signature, DER."""
    return key.sign(content, _HASH)


def is_signed(key: ec.EllipticCurvePublicKey, signature: bytes, content: bytes) -> bool:
    """Tell whether a signature is the key's, of these bytes."""
    try:
        key.verify(signature, content, _HASH)
    except InvalidSignature:
        return False
    return True


def _read(file: Path) -> bytes:
    try:
        with file.open("rb") as opened:
            return opened.read(_KEY_BYTES)
    except OSError as error:
        raise BundleRefused(Refusal.MALFORMED, f"{file}: cannot be read: {error.strerror}") from error
