"""Certificates that tests make: an authority, and what it vouches for."""

from datetime import UTC, datetime, timedelta
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

NOW: Final = datetime(2026, 6, 1, 12, tzinfo=UTC)
ISSUER: Final = x509.ObjectIdentifier("1.3.6.1.4.1.57264.1.8")


def new_key() -> ec.EllipticCurvePrivateKey:
    """Make a key."""
    return ec.generate_private_key(ec.SECP256R1())


def certificate(
    key: ec.EllipticCurvePrivateKey,
    signer: ec.EllipticCurvePrivateKey,
    *,
    authority: bool = False,
    mail: str = "release@acme.example",
    issuer: str | None = "https://accounts.acme.example",
    begins: datetime = NOW - timedelta(minutes=5),
    usage: x509.ObjectIdentifier = ExtendedKeyUsageOID.CODE_SIGNING,
) -> x509.Certificate:
    """Make a certificate, which holds for an hour; that of an authority is signed by itself."""
    root = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "root")])
    builder = (
        x509.CertificateBuilder()
        .subject_name(root if authority else x509.Name([]))
        .issuer_name(root)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begins)
        .not_valid_after(begins + timedelta(hours=1))
        .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
    )
    if not authority:
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.RFC822Name(mail)]), critical=True)
        builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        if issuer is not None:
            encoded = b"\x0c" + bytes([len(issuer)]) + issuer.encode()
            builder = builder.add_extension(x509.UnrecognizedExtension(ISSUER, encoded), critical=False)
    return builder.sign(signer, hashes.SHA256())


def pem(made: x509.Certificate) -> bytes:
    """Return a certificate as its file holds it."""
    return made.public_bytes(serialization.Encoding.PEM)
