"""Whose a bundle is: signed by its publisher, of these bytes, now, and with its provenance; else refused by name."""

import base64
import json
import random
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID
from hypothesis import given
from hypothesis import strategies as st

from orchestrator_marketplace.bundle_artifacts import Bundle, open_bundle
from orchestrator_marketplace.envelopes import PAYLOAD_TYPE, STATEMENT_TYPE, open_envelope, seal
from orchestrator_marketplace.layouts import Layout
from orchestrator_marketplace.oci import EMPTY, EMPTY_CONFIG, Descriptor, OciManifest
from orchestrator_marketplace.publishers import Publishers, read_publishers
from orchestrator_marketplace.refusals import BundleRefused, Refusal
from orchestrator_marketplace.signatures import Signer, sign_bundle, verify_bundle
from orchestrator_marketplace.signing_keys import (
    PASSWORD,
    key_hint,
    load_certificate,
    load_private_key,
    load_public_key,
    public_pem,
    write_key_pair,
)
from orchestrator_marketplace.statements import (
    PROVENANCE,
    SIGNATURE,
    Source,
    Statement,
    parse_statement,
    signature_statement,
)
from tests.unit.marketplace.certificates import NOW, certificate, new_key, pem
from tests.unit.marketplace.written_bundles import built

COSIGN = json.loads((Path(__file__).parent / "cosign_statements.json").read_text())


@pytest.fixture
def opened(tmp_path: Path) -> tuple[Layout, Bundle]:
    layout, entry = built(tmp_path / "bundle")
    return layout, open_bundle(layout, entry)


def trust(**keys: ec.EllipticCurvePrivateKey) -> Publishers:
    return Publishers(keys=tuple((name, key.public_key()) for name, key in keys.items()))


def add(layout: Layout, digest: str, content: bytes) -> None:
    """Put bytes beside a bundle as a statement about it, as anybody may who can write there."""
    (subject,) = (one for one in layout.entries() if one.digest == digest)
    config = layout.add_blob(EMPTY_CONFIG, Descriptor.of(EMPTY_CONFIG, EMPTY))
    layer = layout.add_blob(content, Descriptor.of(content, STATEMENT_TYPE))
    layout.add(
        OciManifest(artifact_type=STATEMENT_TYPE, config=config, layers=(layer,), subject=subject).to_bytes()
    )


def refusal(layout: Layout, bundle: Bundle, publishers: Publishers, days: float = 0) -> Refusal:
    with pytest.raises(BundleRefused) as refused:
        verify_bundle(layout, bundle, publishers, NOW + timedelta(days=days))
    assert "\n" not in refused.value.message
    return refused.value.refusal


def test_a_bundle_is_its_publishers(opened: tuple[Layout, Bundle]) -> None:
    layout, bundle = opened
    key = new_key()
    source = Source(uri="https://git.example/acme", commit="abc")
    sign_bundle(layout, bundle, Signer(key=key), NOW, days=30, source=source)
    verified = verify_bundle(layout, bundle, trust(other=new_key(), acme=key), NOW + timedelta(days=29))
    assert (verified.publisher, verified.signed) == ("acme", NOW)
    assert verified.expires == NOW + timedelta(days=30)
    said = json.dumps(verified.provenance.predicate)
    assert '{"uri": "https://git.example/acme", "digest": {"gitCommit": "abc"}}' in said
    assert layout.manifest(layout.entries()[0]).config.digest.removeprefix("sha256:") not in said


def test_nobody_has_signed(opened: tuple[Layout, Bundle]) -> None:
    layout, bundle = opened
    assert refusal(layout, bundle, trust(acme=new_key())) is Refusal.UNSIGNED
    sign_bundle(layout, bundle, Signer(key=new_key()), NOW)
    assert refusal(layout, bundle, trust(acme=new_key())) is Refusal.UNSIGNED, (
        "somebody is not somebody trusted"
    )
    add(layout, bundle.digest, b"no statement")
    assert refusal(layout, bundle, trust(acme=new_key())) is Refusal.UNSIGNED


def test_another_publisher_has_signed(opened: tuple[Layout, Bundle]) -> None:
    layout, bundle = opened
    mallory = new_key()
    sign_bundle(layout, bundle, Signer(key=mallory), NOW)
    assert refusal(layout, bundle, trust(acme=new_key(), mallory=mallory)) is Refusal.SQUATTED


@pytest.mark.parametrize(("days", "expected"), [(31, Refusal.EXPIRED), (-1, Refusal.EXPIRED)])
def test_a_signature_has_a_time(opened: tuple[Layout, Bundle], days: int, expected: Refusal) -> None:
    layout, bundle = opened
    key = new_key()
    sign_bundle(layout, bundle, Signer(key=key), NOW, days=30)
    assert refusal(layout, bundle, trust(acme=key), days) is expected


def test_an_expired_signature_may_be_followed_by_another(opened: tuple[Layout, Bundle]) -> None:
    layout, bundle = opened
    key = new_key()
    sign_bundle(layout, bundle, Signer(key=key), NOW - timedelta(days=60), days=30)
    sign_bundle(layout, bundle, Signer(key=key), NOW, days=30)
    assert verify_bundle(layout, bundle, trust(acme=key), NOW).signed == NOW


def test_a_signature_of_other_bytes_is_tampered(opened: tuple[Layout, Bundle], tmp_path: Path) -> None:
    layout, bundle = opened
    key = new_key()
    other_layout, entry = built(tmp_path / "other", summary="Other")
    for one in sign_bundle(other_layout, open_bundle(other_layout, entry), Signer(key=key), NOW):
        add(
            layout,
            bundle.digest,
            other_layout.blob_file(other_layout.manifest(one).layers[0].digest).read_bytes(),
        )
    assert refusal(layout, bundle, trust(acme=key)) is Refusal.TAMPERED


def test_a_changed_statement_is_tampered(opened: tuple[Layout, Bundle]) -> None:
    layout, bundle = opened
    key = new_key()
    good = seal(signature_statement(bundle.digest, NOW, NOW + timedelta(days=1)).to_bytes(), key)
    longer = signature_statement(bundle.digest, NOW, NOW + timedelta(days=999)).to_bytes()
    forged = json.loads(seal(longer, new_key()))
    forged["verificationMaterial"] = json.loads(good)["verificationMaterial"]
    add(layout, bundle.digest, json.dumps(forged).encode())
    assert refusal(layout, bundle, trust(acme=key)) is Refusal.TAMPERED
    sign_bundle(layout, bundle, Signer(key=key), NOW)
    assert verify_bundle(layout, bundle, trust(acme=key), NOW), (
        "what anybody puts beside a bundle does no harm"
    )


def test_provenance_is_needed_and_of_the_same_publisher(opened: tuple[Layout, Bundle]) -> None:
    layout, bundle = opened
    key, other = new_key(), new_key()
    add(
        layout,
        bundle.digest,
        seal(signature_statement(bundle.digest, NOW, NOW + timedelta(days=1)).to_bytes(), key),
    )
    assert refusal(layout, bundle, trust(acme=key)) is Refusal.UNPROVEN
    said = Statement(subject=bundle.digest, kind=PROVENANCE, predicate={}).to_bytes()
    add(layout, bundle.digest, seal(said, other))
    assert refusal(layout, bundle, trust(acme=key, other=other)) is Refusal.UNPROVEN
    add(layout, bundle.digest, seal(said, key))
    assert verify_bundle(layout, bundle, trust(acme=key, other=other), NOW).publisher == "acme"


def test_provenance_alone_is_no_signature(opened: tuple[Layout, Bundle]) -> None:
    layout, bundle = opened
    key = new_key()
    add(
        layout,
        bundle.digest,
        seal(Statement(subject=bundle.digest, kind=PROVENANCE, predicate={}).to_bytes(), key),
    )
    assert refusal(layout, bundle, trust(acme=key)) is Refusal.UNSIGNED


def written_trust(
    folder: Path, root: bytes, name: str = "release@acme.example", issuer: str = ""
) -> Publishers:
    (folder / "root.pem").write_bytes(root)
    said = f", issuer: '{issuer}'" if issuer else ""
    (folder / "trust.yaml").write_text(
        f"publishers: {{acme: {{identities: [{{name: {name}{said}}}]}}}}\nauthorities: [root.pem]\n"
    )
    return read_publishers(folder / "trust.yaml")


def test_a_certificate_says_whose_a_key_is(opened: tuple[Layout, Bundle], tmp_path: Path) -> None:
    layout, bundle = opened
    root, key = new_key(), new_key()
    authority = pem(certificate(root, root, authority=True))
    sign_bundle(layout, bundle, Signer(key=key, certificate=certificate(key, root)), NOW)
    publishers = written_trust(tmp_path, authority, issuer="https://accounts.acme.example")
    verified = verify_bundle(layout, bundle, publishers, NOW)
    assert verified.publisher == "acme"
    assert verified.expires == certificate(key, root).not_valid_after_utc, (
        "it holds no longer than its certificate"
    )
    assert refusal(layout, bundle, publishers, days=1) is Refusal.EXPIRED
    for name, issuer in (("other@acme.example", ""), ("release@acme.example", "https://evil.example")):
        publishers = written_trust(tmp_path, authority, name, issuer)
        assert refusal(layout, bundle, publishers) is Refusal.UNSIGNED
    stranger = new_key()
    publishers = written_trust(tmp_path, pem(certificate(stranger, stranger, authority=True)))
    assert refusal(layout, bundle, publishers) is Refusal.UNSIGNED


def test_certificates_that_say_nothing(opened: tuple[Layout, Bundle], tmp_path: Path) -> None:
    layout, bundle = opened
    root, key = new_key(), new_key()
    publishers = written_trust(
        tmp_path, pem(certificate(root, root, authority=True)), issuer="https://a.example"
    )
    for made in (
        certificate(key, root, usage=ExtendedKeyUsageOID.SERVER_AUTH),
        certificate(key, root, issuer=None),
    ):
        sign_bundle(layout, bundle, Signer(key=key, certificate=made), NOW)
        assert refusal(layout, bundle, publishers) is Refusal.UNSIGNED


def test_a_certificate_of_another_key_signs_nothing() -> None:
    with pytest.raises(BundleRefused, match="is of another key"):
        Signer(key=new_key(), certificate=certificate(new_key(), new_key()))


def test_what_cosign_signed_is_read() -> None:
    (file,) = [COSIGN["public_key"].encode()]
    key = serialization.load_pem_public_key(file)
    assert isinstance(key, ec.EllipticCurvePublicKey)
    kinds: list[str] = []
    for stored in COSIGN["statements"]:
        envelope = open_envelope(json.dumps(stored).encode())
        assert envelope.is_of(key) and envelope.hint == key_hint(key)
        statement = parse_statement(envelope.payload)
        assert statement.subject == COSIGN["digest"]
        kinds.append(statement.kind)
    assert sorted(kinds) == sorted([SIGNATURE, PROVENANCE])


@given(st.binary(max_size=300), st.binary(max_size=300))
def test_an_envelope_is_of_its_bytes_alone(payload: bytes, other: bytes) -> None:
    key = new_key()
    envelope = open_envelope(seal(payload, key))
    assert envelope.payload == payload and envelope.is_of(key.public_key())
    changed = json.loads(seal(payload, key))
    changed["dsseEnvelope"]["payload"] = json.loads(seal(other, key))["dsseEnvelope"]["payload"]
    assert open_envelope(json.dumps(changed).encode()).is_of(key.public_key()) == (payload == other)


@given(st.binary(max_size=300))
def test_any_bytes_are_a_statement_or_are_refused(content: bytes) -> None:
    for read in (open_envelope, parse_statement):
        with pytest.raises(BundleRefused):
            read(content)


CHANGES: dict[str, dict[str, object]] = {
    "another kind": {"mediaType": "x"},
    "no base64": {"dsseEnvelope": {"payload": "%%", "payloadType": PAYLOAD_TYPE, "signatures": []}},
    "no text": {"dsseEnvelope": {"payload": 1, "payloadType": PAYLOAD_TYPE, "signatures": []}},
    "parsing asn1": {"verificationMaterial": {"certificate": {"rawBytes": "AAAA"}}},
    "payloadType": {"dsseEnvelope": {}},
}


@pytest.mark.parametrize("said", CHANGES)
def test_envelopes_that_are_none(said: str) -> None:
    value = {**json.loads(seal(b"{}", new_key())), **CHANGES[said]}
    with pytest.raises(BundleRefused, match="no sigstore bundle") as refused:
        open_envelope(json.dumps(value).encode())
    assert said in str(refused.value.cause)


def test_moments_that_are_none(opened: tuple[Layout, Bundle]) -> None:
    layout, bundle = opened
    key = new_key()
    for moment in ("soon", 5):
        said = Statement(subject=bundle.digest, kind=SIGNATURE, predicate={"expiresAt": moment})
        add(layout, bundle.digest, seal(said.to_bytes(), key))
        assert refusal(layout, bundle, trust(acme=key)) is Refusal.MALFORMED


def test_keys_are_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_key_pair(tmp_path / "key", tmp_path / "key.pub")
    assert (tmp_path / "key").stat().st_mode & 0o777 == 0o600
    key = load_private_key(tmp_path / "key")
    assert public_pem(key.public_key()) == (tmp_path / "key.pub").read_bytes()
    assert key_hint(load_public_key(tmp_path / "key.pub")) == key_hint(key.public_key())
    with pytest.raises(FileExistsError):
        write_key_pair(tmp_path / "key", tmp_path / "other.pub")
    monkeypatch.setenv(PASSWORD, "correct")
    assert load_private_key(tmp_path / "key"), "one without a password needs none"
    write_key_pair(tmp_path / "sealed", tmp_path / "sealed.pub")
    assert b"ENCRYPTED" in (tmp_path / "sealed").read_bytes()
    assert load_private_key(tmp_path / "sealed")
    for password in ("wrong", ""):
        monkeypatch.setenv(PASSWORD, password)
        with pytest.raises(BundleRefused, match="or its password is not in"):
            load_private_key(tmp_path / "sealed")


def test_keys_that_are_none(tmp_path: Path) -> None:
    file = tmp_path / "file"
    for read, said in (
        (load_private_key, "cannot be read"),
        (load_public_key, "cannot be read"),
        (load_certificate, "cannot be read"),
    ):
        with pytest.raises(BundleRefused, match=said):
            read(file)
    file.write_text("x")
    for read, said in (
        (load_private_key, "is no private key"),
        (load_public_key, "is no public key"),
        (load_certificate, "is no certificate"),
    ):
        with pytest.raises(BundleRefused, match=said):
            read(file)
    foreign = rsa.generate_private_key(65537, 2048)
    file.write_bytes(
        foreign.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    with pytest.raises(BundleRefused, match="is no key of P-256"):
        load_private_key(file)
    file.write_bytes(
        foreign.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
    )
    with pytest.raises(BundleRefused, match="is no key of P-256"):
        load_public_key(file)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("publishers: {Acme: {}}", "'Acme' is no name of a publisher"),
        ("publishers: {acme: {}, acrne: {}}", "'acrne' looks like 'acme'"),
        ("publishers: {acme: {keys: [none.pub]}}", "none.pub: cannot be read"),
        ("publishers: {}\nauthorities: [none.pem]", "none.pem: is no certificate of an authority"),
        ("publishers: {}\nauthorities: [leaf.pem]", "leaf.pem: is a certificate that may sign no other"),
    ],
)
def test_trust_that_cannot_be_read(text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "leaf.pem").write_bytes(pem(certificate(new_key(), new_key())))
    (tmp_path / "trust.yaml").write_text(text)
    with pytest.raises(BundleRefused, match=said):
        read_publishers(tmp_path / "trust.yaml")
    with pytest.raises(BundleRefused, match="cannot be read"):
        read_publishers(tmp_path / "nowhere.yaml")


def test_a_certificate_with_other_bytes_is_nobodys(opened: tuple[Layout, Bundle], tmp_path: Path) -> None:
    layout, bundle = opened
    root, key = new_key(), new_key()
    encoded = certificate(key, root).public_bytes(serialization.Encoding.DER)
    publishers = written_trust(tmp_path, pem(certificate(root, root, authority=True)))
    statement = signature_statement(bundle.digest, NOW, NOW + timedelta(days=1)).to_bytes()
    sealed = json.loads(seal(statement, key))
    chance = random.Random(7)
    for place in range(0, len(encoded), 5):
        changed = bytearray(encoded)
        changed[place] ^= chance.randint(1, 255)
        sealed["verificationMaterial"] = {"certificate": {"rawBytes": base64.b64encode(changed).decode()}}
        add(layout, bundle.digest, json.dumps(sealed).encode())
    assert refusal(layout, bundle, publishers) is Refusal.UNSIGNED
