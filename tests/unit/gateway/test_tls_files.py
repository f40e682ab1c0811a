"""TLS by files: what is replaced is taken by the next connection, and what is wrong is named."""

import asyncio
import datetime
import logging
import secrets
import ssl
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from orchestrator_gateway.tls_files import Authorities, BadTlsFile, ServerCertificate
from tests.certificates import Authority


async def shown(certificate: ServerCertificate, *calls: Callable[[], Authorities]) -> list[int | str]:
    """Return the serial number of the certificate that each call is shown, or why it was not taken."""
    server = await asyncio.start_server(
        lambda _reader, writer: writer.close(), "127.0.0.1", 0, ssl=certificate.context
    )
    port = server.sockets[0].getsockname()[1]
    found = list[int | str]()
    async with server:
        for call in calls:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=call().context)
            except ssl.SSLCertVerificationError as error:
                found.append(error.verify_message)
                continue
            told = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
            found.append(x509.load_der_x509_certificate(told).serial_number)
            writer.transport.abort()
    return found


def serial(file: Path) -> int:
    return x509.load_pem_x509_certificate(file.read_bytes()).serial_number


def test_a_certificate_that_is_replaced_is_shown_to_the_next_one(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    issued = authority.issue("127.0.0.1")
    certificate, authorities = ServerCertificate(issued.certificate, issued.key), Authorities(authority.file)
    first = serial(issued.certificate)

    def renewed() -> Authorities:
        authority.issue("127.0.0.1")
        return authorities

    found = asyncio.run(shown(certificate, lambda: authorities, renewed, lambda: authorities))
    second = serial(issued.certificate)
    assert found == [first, second, second] and first != second


def test_one_that_cannot_be_used_leaves_the_one_before_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    authority = Authority(tmp_path)
    issued = authority.issue("127.0.0.1")
    certificate, authorities = ServerCertificate(issued.certificate, issued.key), Authorities(authority.file)
    first = serial(issued.certificate)

    def broken() -> Authorities:
        issued.certificate.write_text("nothing")
        return authorities

    def gone() -> Authorities:
        issued.certificate.unlink()
        return authorities

    def renewed() -> Authorities:
        authority.issue("127.0.0.1")
        return authorities

    with caplog.at_level(logging.INFO, "orchestrator_gateway"):
        found = asyncio.run(shown(certificate, broken, lambda: authorities, gone, renewed))
    assert found == [first, first, first, serial(issued.certificate)]
    told = [record.message for record in caplog.records]
    assert len(told) == 3, "once for each"
    assert "is shown still" in told[0] and str(issued.certificate) in told[0]
    assert "another certificate is shown" in told[2]


def test_who_is_not_trusted_is_refused(tmp_path: Path) -> None:
    authority, stranger = Authority(tmp_path / "own"), Authority(tmp_path / "stranger")
    issued = authority.issue("127.0.0.1")
    certificate = ServerCertificate(issued.certificate, issued.key)
    trusted, foreign = Authorities(authority.file), Authorities(stranger.file)
    own, other, system = asyncio.run(
        shown(certificate, lambda: trusted, lambda: foreign, lambda: Authorities(None))
    )
    assert own == serial(issued.certificate)
    assert "unable to get local issuer" in str(other) and "unable to get local issuer" in str(system)


@pytest.mark.parametrize(
    ("name", "valid", "why"),
    [
        ("gateway.example", datetime.timedelta(days=1), "IP address mismatch"),
        ("127.0.0.1", datetime.timedelta(days=-1), "certificate has expired"),
    ],
)
def test_another_name_and_what_is_over_are_refused(
    tmp_path: Path, name: str, valid: datetime.timedelta, why: str
) -> None:
    authority = Authority(tmp_path)
    issued = authority.issue(name, valid=valid)
    certificate = ServerCertificate(issued.certificate, issued.key)
    (found,) = asyncio.run(shown(certificate, lambda: Authorities(authority.file)))
    assert why in str(found)


def test_authorities_that_are_replaced_are_trusted_next(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    authority, next_one = Authority(tmp_path / "own"), Authority(tmp_path / "next")
    issued = next_one.issue("127.0.0.1")
    certificate = ServerCertificate(issued.certificate, issued.key)
    file = tmp_path / "ca.crt"
    file.write_text(authority.pem)
    authorities = Authorities(file)

    def both() -> Authorities:
        file.write_text(authority.pem + next_one.pem)
        return authorities

    def broken() -> Authorities:
        file.write_text("nothing")
        return authorities

    found = asyncio.run(shown(certificate, lambda: authorities, both, broken, lambda: authorities))
    assert "unable to get local issuer" in str(found[0])
    assert found[1:] == [serial(issued.certificate)] * 3
    (told,) = [record.message for record in caplog.records if "trusted still" in record.message]
    assert str(file) in told


def test_old_versions_of_tls_are_refused(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    issued = authority.issue("127.0.0.1")
    context = ServerCertificate(issued.certificate, issued.key).context
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2
    assert Authorities(authority.file).context.minimum_version is ssl.TLSVersion.TLSv1_2
    assert Authorities(None).context.verify_mode is ssl.CERT_REQUIRED


def test_what_is_no_certificate_with_its_key_is_refused_by_its_name(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    one, other = authority.issue("a"), authority.issue("b", file="other")
    missing, text = tmp_path / "missing", tmp_path / "text"
    text.write_text("nothing")
    for certificate, key, named, why in (
        (missing, one.key, missing, "cannot be read: No such file"),
        (one.certificate, missing, missing, "cannot be read: No such file"),
        (one.certificate, other.key, other.key, "KEY_VALUES_MISMATCH"),
        (text, one.key, text, "are no certificate with its key"),
        (one.certificate, text, text, "are no certificate with its key"),
    ):
        with pytest.raises(BadTlsFile, match=why) as caught:
            ServerCertificate(certificate, key)
        assert repr(str(named)) in str(caught.value) and "\n" not in str(caught.value)
    for file, why in ((missing, "cannot be read"), (text, "holds no certificates")):
        with pytest.raises(BadTlsFile, match=why):
            Authorities(file)


def test_an_encrypted_key_is_refused_and_nobody_is_asked_for_its_word(tmp_path: Path) -> None:
    issued = Authority(tmp_path).issue("a")
    word = secrets.token_bytes(16)
    encrypted = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(word),
    )
    issued.key.write_bytes(encrypted)
    with pytest.raises(BadTlsFile, match="the key not encrypted"):
        ServerCertificate(issued.certificate, issued.key)
