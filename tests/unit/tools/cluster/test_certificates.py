"""The certificates of the test cluster, as a TLS client and an API server read them."""

import base64
import json
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from orchestrator_tools.cluster.certificates import CLIENTS, SUBJECTS, Subject, write_certificates
from orchestrator_tools.cluster.places import API_SERVICE, NODE


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("certificates")
    write_certificates(made)
    return made


def certificate(folder: Path, name: str) -> x509.Certificate:
    return x509.load_pem_x509_certificate((folder / f"{name}.crt").read_bytes())


@pytest.mark.parametrize("subject", SUBJECTS, ids=lambda subject: subject.name)
def test_everybody_is_who_the_api_server_expects_by_the_authoritys_word(
    folder: Path, subject: Subject
) -> None:
    found, authority = certificate(folder, subject.name), certificate(folder, "ca")
    found.verify_directly_issued_by(authority)
    names = {part.oid: part.value for part in found.subject}
    assert names[NameOID.COMMON_NAME] == subject.user
    assert names.get(NameOID.ORGANIZATION_NAME) == subject.group


def test_the_api_server_is_known_by_its_names_and_addresses(folder: Path) -> None:
    extension = certificate(folder, "apiserver").extensions.get_extension_for_class(
        x509.SubjectAlternativeName
    )
    assert "kubernetes.default.svc" in extension.value.get_values_for_type(x509.DNSName)
    addresses = [str(address) for address in extension.value.get_values_for_type(x509.IPAddress)]
    assert "127.0.0.1" in addresses and API_SERVICE in addresses


def test_the_kubelet_is_the_nodes_user() -> None:
    (kubelet,) = (subject for subject in SUBJECTS if subject.name == "kubelet")
    assert (kubelet.user, kubelet.group) == (f"system:node:{NODE}", "system:nodes")


@pytest.mark.parametrize("client", CLIENTS)
def test_a_kubeconfig_is_complete_in_itself(folder: Path, client: str) -> None:
    told = json.loads((folder / f"{client}.kubeconfig").read_text())
    (user,), (cluster,) = told["users"], told["clusters"]
    sent = base64.b64decode(user["user"]["client-certificate-data"])
    assert sent == (folder / f"{client}.crt").read_bytes()
    assert (
        base64.b64decode(cluster["cluster"]["certificate-authority-data"]) == (folder / "ca.crt").read_bytes()
    )


def test_nobody_else_reads_the_keys(folder: Path) -> None:
    keys = [*folder.glob("*.key"), *folder.glob("*.kubeconfig")]
    assert len(keys) == len(SUBJECTS) + len(CLIENTS) + 2
    assert {path.stat().st_mode & 0o077 for path in keys} == {0}


def test_a_second_authority_is_another_one(folder: Path, tmp_path: Path) -> None:
    write_certificates(tmp_path)
    other = certificate(tmp_path, "ca").public_key()
    assert isinstance(other, ec.EllipticCurvePublicKey)
    assert other != certificate(folder, "ca").public_key()
