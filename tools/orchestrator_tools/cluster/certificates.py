"""The throw-away certificate authority of one test cluster, and who is who in it."""

import base64
import datetime
import ipaddress
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from orchestrator_tools.cluster.places import API_PORT, API_SERVICE, DOMAIN, NODE, NODE_ADDRESS

VALID: Final = datetime.timedelta(days=30)
"""Longer than any test cluster lives."""
CLOCK_SKEW: Final = datetime.timedelta(hours=1)


@dataclass(frozen=True, kw_only=True)
class Subject:
    """Somebody with a certificate.

    Attributes:
        name: Of its files.
        user: Its common name, which is the user that the API server sees.
        group: Its organization, which is the user's group; None for no group.
        hosts: Names and addresses under which it serves.
    """

    name: str
    user: str
    group: str | None = None
    hosts: Sequence[str] = ()


SUBJECTS: Final = (
    Subject(
        name="apiserver",
        user="kube-apiserver",
        hosts=(
            "kubernetes",
            "kubernetes.default",
            "kubernetes.default.svc",
            f"kubernetes.default.svc.{DOMAIN}",
            "localhost",
            "127.0.0.1",
            NODE_ADDRESS,
            API_SERVICE,
        ),
    ),
    Subject(name="kubelet-client", user="kube-apiserver-kubelet-client", group="system:masters"),
    Subject(name="admin", user="admin", group="system:masters"),
    Subject(name="controller-manager", user="system:kube-controller-manager"),
    Subject(name="scheduler", user="system:kube-scheduler"),
    Subject(name="proxy", user="system:kube-proxy"),
    Subject(name="kubelet", user=f"system:node:{NODE}", group="system:nodes", hosts=(NODE, NODE_ADDRESS)),
)
CLIENTS: Final = ("admin", "controller-manager", "scheduler", "proxy", "kubelet")
"""Those that get a kubeconfig."""


def write_certificates(folder: Path) -> None:
    """Write the authority (`ca`), every subject's key and certificate, kubeconfigs, and the key of service accounts.

    Args:
        folder: Made if it is missing, for this user only.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    authority_key = ec.generate_private_key(ec.SECP256R1())
    name = _name("cluster-ca", None)
    authority = (
        _builder(name, name, authority_key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(authority_key, hashes.SHA256())
    )
    _write(folder / "ca.key", _pem(authority_key))
    _write(folder / "ca.crt", authority.public_bytes(serialization.Encoding.PEM))
    for subject in SUBJECTS:
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = _certificate(subject, key.public_key(), name).sign(authority_key, hashes.SHA256())
        _write(folder / f"{subject.name}.key", _pem(key))
        _write(folder / f"{subject.name}.crt", certificate.public_bytes(serialization.Encoding.PEM))
    for client in CLIENTS:
        _write(folder / f"{client}.kubeconfig", kubeconfig(folder, client).encode())
    accounts = rsa.generate_private_key(public_exponent=65_537, key_size=2_048)
    _write(folder / "accounts.key", _pem(accounts))
    public = accounts.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    _write(folder / "accounts.pub", public)


def kubeconfig(folder: Path, client: str) -> str:
    """Return the text of a client's kubeconfig, complete in itself; JSON is YAML."""

    def encoded(name: str) -> str:
        return base64.b64encode((folder / name).read_bytes()).decode()

    cluster = {
        "server": f"https://127.0.0.1:{API_PORT}",
        "certificate-authority-data": encoded("ca.crt"),
    }
    user = {
        "client-certificate-data": encoded(f"{client}.crt"),
        "client-key-data": encoded(f"{client}.key"),
    }
    return json.dumps(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "test", "cluster": cluster}],
            "users": [{"name": client, "user": user}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": client}}],
            "current-context": "test",
        },
        indent=1,
    )


def _name(common: str, organization: str | None) -> x509.Name:
    parts = [x509.NameAttribute(NameOID.COMMON_NAME, common)]
    if organization is not None:
        parts.append(x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization))
    return x509.Name(parts)


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCK_SKEW)
        .not_valid_after(now + VALID)
    )


def _certificate(
    subject: Subject, key: ec.EllipticCurvePublicKey, issuer: x509.Name
) -> x509.CertificateBuilder:
    builder = _builder(_name(subject.user, subject.group), issuer, key).add_extension(
        x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH]),
        critical=False,
    )
    if subject.hosts:
        builder = builder.add_extension(
            x509.SubjectAlternativeName([_general_name(host) for host in subject.hosts]), critical=False
        )
    return builder


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _pem(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _write(path: Path, content: bytes) -> None:
    path.touch(mode=0o600)
    path.write_bytes(content)
