"""A registry may lie, break off, send too much, lead astray or never end: nothing of it is taken, and nobody waits."""

import base64
import gzip
import json
import threading
import time
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from orchestrator_marketplace.bundle_artifacts import open_bundle
from orchestrator_marketplace.installations import Installations
from orchestrator_marketplace.layouts import Layout
from orchestrator_marketplace.oci import Descriptor, digest_of, index_bytes
from orchestrator_marketplace.publishers import Publishers
from orchestrator_marketplace.pulls import pull_bundle
from orchestrator_marketplace.references import Reference, parse_reference
from orchestrator_marketplace.refusals import BundleRefused, Refusal
from orchestrator_marketplace.registries import Repository
from orchestrator_marketplace.registry_authentication import RegistryAuthentication
from orchestrator_marketplace.registry_errors import RegistryDenied, RegistryUnavailable
from orchestrator_marketplace.registry_requests import ANSWER_BYTES, TRIES
from orchestrator_marketplace.signatures import Signer, sign_bundle
from tests.integration.bundle_registries import odd_registry, say, type_of_handler
from tests.unit.marketplace.certificates import NOW, new_key
from tests.unit.marketplace.written_bundles import built

CONTENT = bytes(range(256)) * 400
BLOB = Descriptor.of(CONTENT, "application/octet-stream")


class Waits(list[float]):
    """Sleeps that only write down how long."""

    def __call__(self, seconds: float) -> None:
        self.append(seconds)


def repository(name: str, **options: float) -> Repository:
    return Repository(parse_reference(f"{name}/acme/reviewer:1.0.0"), sleep=Waits(), **options)  # type: ignore[arg-type]  # numbers all


def refused(answer: type_of_handler, file: Path) -> Refusal:
    with odd_registry(answer) as name, repository(name) as client, pytest.raises(BundleRefused) as error:
        client.download(BLOB, file)
    assert list(file.parent.iterdir()) == [], "nothing is kept"
    return error.value.refusal


def test_other_bytes_are_tampered(tmp_path: Path) -> None:
    other = CONTENT[:-1] + b"x"
    assert refused(lambda to: say(to, 200, other), tmp_path / "blob") is Refusal.TAMPERED


def test_more_bytes_than_were_told_are_oversized(tmp_path: Path) -> None:
    assert refused(lambda to: say(to, 200, CONTENT + b"x"), tmp_path / "blob") is Refusal.OVERSIZED


def test_an_answer_that_unpacks_is_a_bomb(tmp_path: Path) -> None:
    bomb = gzip.compress(bytes(2**20))

    def answer(to: BaseHTTPRequestHandler) -> None:
        assert to.headers["accept-encoding"] == "identity"
        say(to, 200, bomb, content_encoding="gzip")

    assert refused(answer, tmp_path / "blob") is Refusal.BOMB


def test_a_manifest_has_a_longest_size_and_its_digest() -> None:
    with (
        odd_registry(lambda to: say(to, 200, b"x" * (ANSWER_BYTES + 1))) as name,
        repository(name) as client,
        pytest.raises(BundleRefused) as error,
    ):
        client.manifest("1.0.0")
    assert error.value.refusal is Refusal.OVERSIZED
    with odd_registry(lambda to: say(to, 200, b"{}")) as name, repository(name) as client:
        assert client.manifest(digest_of(b"{}")) == b"{}"
        with pytest.raises(BundleRefused) as error:
            client.manifest(digest_of(b"[]"))
    assert error.value.refusal is Refusal.TAMPERED


def cut(to: BaseHTTPRequestHandler, content: bytes, most: int, status: int = 200, **headers: str) -> None:
    """Promise all of some bytes, and send only the first."""
    say(to, status, content[:most], content_length=str(len(content)), **headers)
    to.close_connection = True


def test_a_download_goes_on_where_it_broke_off(tmp_path: Path) -> None:
    ranges: list[str | None] = []

    def answer(to: BaseHTTPRequestHandler) -> None:
        asked = to.headers["range"]
        ranges.append(asked)
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked else 0
        said = {"content_range": f"bytes {start}-{len(CONTENT) - 1}/{len(CONTENT)}"}
        cut(to, CONTENT[start:], 40_000, 206 if asked else 200, **said)

    with odd_registry(answer) as name, repository(name) as client:
        client.download(BLOB, tmp_path / "blob")
    assert (tmp_path / "blob").read_bytes() == CONTENT
    assert ranges == [None, "bytes=40000-", "bytes=80000-"]


def test_a_registry_that_knows_no_ranges_begins_anew(tmp_path: Path) -> None:
    (tmp_path / "blob.part").write_bytes(b"\0" * 500)
    with odd_registry(lambda to: say(to, 200, CONTENT)) as name, repository(name) as client:
        client.download(BLOB, tmp_path / "blob")
    assert (tmp_path / "blob").read_bytes() == CONTENT


@pytest.mark.parametrize("said", ["bytes 900-1000/2000", "pages 1-2", ""])
def test_a_range_that_leaves_a_gap_is_not_taken(said: str, tmp_path: Path) -> None:
    (tmp_path / "blob.part").write_bytes(CONTENT[:500])
    with (
        odd_registry(lambda to: say(to, 206, CONTENT[900:], content_range=said)) as name,
        repository(name) as client,
        pytest.raises(RegistryDenied, match="answers 206"),
    ):
        client.download(BLOB, tmp_path / "blob")
    assert (tmp_path / "blob.part").read_bytes() == CONTENT[:500]


def test_a_download_that_breaks_off_every_time_ends_and_is_kept(tmp_path: Path) -> None:
    calls = Waits()

    def answer(to: BaseHTTPRequestHandler) -> None:
        calls(0)
        cut(to, CONTENT, 100)

    waits = Waits()
    with (
        odd_registry(answer) as name,
        Repository(parse_reference(f"{name}/a/b:1"), sleep=waits) as client,
        pytest.raises(RegistryUnavailable, match="4 tries failed"),
    ):
        client.download(BLOB, tmp_path / "blob")
    assert len(calls) == TRIES and waits == [0.2, 0.4, 0.8]
    assert (tmp_path / "blob.part").read_bytes() == CONTENT[:100]


def test_a_registry_that_drips_is_left(tmp_path: Path) -> None:
    gone = threading.Event()

    def answer(to: BaseHTTPRequestHandler) -> None:
        say(to, 200, CONTENT[:10], content_length=str(len(CONTENT)))
        for place in range(10, 200):
            to.wfile.write(CONTENT[place : place + 1])
            to.wfile.flush()
            if gone.wait(0.05):
                return

    began = time.monotonic()
    with odd_registry(answer) as name, repository(name, seconds=0.3) as client:
        with pytest.raises(RegistryUnavailable, match="not done after 0 s"):
            client.download(BLOB, tmp_path / "blob")
        gone.set()
    assert time.monotonic() - began < 5
    assert (tmp_path / "blob.part").stat().st_size >= 10


def test_a_registry_that_is_busy_is_asked_again() -> None:
    answers = iter([503, 429, 200])
    with odd_registry(lambda to: say(to, next(answers), b"{}")) as name, repository(name) as client:
        assert client.manifest("1.0.0") == b"{}"


def test_a_registry_that_stays_busy_or_is_not_there_is_told() -> None:
    with (
        odd_registry(lambda to: say(to, 503, b"later")) as name,
        repository(name) as client,
        pytest.raises(RegistryUnavailable, match="does not answer"),
    ):
        client.manifest("1.0.0")
    with repository(name) as client, pytest.raises(RegistryUnavailable, match="does not answer: 4 tries"):
        client.manifest("1.0.0")


def test_a_download_that_is_led_elsewhere_takes_no_password_along(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = base64.b64encode(b"user:secret").decode()
    seen: list[str | None] = []

    def storage(to: BaseHTTPRequestHandler) -> None:
        seen.append(to.headers["authorization"])
        say(to, 200, CONTENT)

    with odd_registry(storage) as other:

        def answer(to: BaseHTTPRequestHandler) -> None:
            if to.headers["authorization"] != f"Basic {secret}":
                say(to, 401, www_authenticate='Basic realm="r"')
            else:
                say(to, 307, location=f"http://{other}/elsewhere")

        with odd_registry(answer) as name:
            (tmp_path / "config.json").write_text(json.dumps({"auths": {name: {"auth": secret}}}))
            monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
            with repository(name) as client:
                client.download(BLOB, tmp_path / "blob")
                with pytest.raises(RegistryDenied, match=r"leads PUT to .*, where nothing is sent"):
                    client.put_manifest(b"{}", "1.0.0")
    assert seen == [None]


def test_a_registry_that_leads_around_is_left(tmp_path: Path) -> None:
    with (
        odd_registry(lambda to: say(to, 302, location=to.path)) as name,
        repository(name) as client,
        pytest.raises(RegistryDenied, match="after 3 other places"),
    ):
        client.download(BLOB, tmp_path / "blob")


@pytest.mark.parametrize("location", ["http://[", "http://a:b", "x" * 70_000])
def test_a_registry_that_leads_to_no_address_is_told(location: str, tmp_path: Path) -> None:
    def answer(to: BaseHTTPRequestHandler) -> None:
        say(to, 404 if to.command == "HEAD" else 302 if to.command == "GET" else 202, location=location)

    with odd_registry(answer) as name, repository(name) as client:
        for work in (lambda: client.download(BLOB, tmp_path / "blob"), lambda: client.upload(CONTENT, BLOB)):
            with pytest.raises((RegistryDenied, RegistryUnavailable)):
                work()


def test_a_redirect_without_a_place_is_an_answer(tmp_path: Path) -> None:
    with (
        odd_registry(lambda to: say(to, 302)) as name,
        repository(name) as client,
        pytest.raises(RegistryDenied, match="answers 302"),
    ):
        client.download(BLOB, tmp_path / "blob")


def test_uploads_stay_with_the_registry() -> None:
    def answer(to: BaseHTTPRequestHandler) -> None:
        if to.command == "HEAD":
            say(to, 404)
        else:
            say(to, 202, location="http://127.0.0.1:1/upload")

    with (
        odd_registry(answer) as name,
        repository(name) as client,
        pytest.raises(RegistryDenied, match=r"sends uploads elsewhere: 'http://127.0.0.1:1/upload'"),
    ):
        client.upload(CONTENT, BLOB)


class Uploads:
    """A registry that loses its connection in the middle of an upload."""

    def __init__(self, breaks: list[tuple[str, int]], *, forgets: bool = False) -> None:
        self.breaks = breaks
        self.forgets = forgets
        self.content = b""
        self.received = 0
        self.stored = b""

    def __call__(self, to: BaseHTTPRequestHandler) -> None:
        body = to.rfile.read(int(to.headers["content-length"] or 0))
        if to.command == "HEAD":
            say(to, 200 if self.stored else 404)
        elif to.command == "POST":
            self.content = b""
            say(to, 202, location="/upload")
        elif to.command == "GET":
            if self.forgets:
                say(to, 404)
            else:
                say(to, 204, location="/upload", range=f"0-{max(len(self.content) - 1, 0)}")
        else:
            self._take(to, body)

    def _take(self, to: BaseHTTPRequestHandler, body: bytes) -> None:
        self.received += len(body)
        if self.breaks and self.breaks[0][0] == to.command:
            _, kept = self.breaks.pop(0)
            self.content += body[:kept]
            to.close_connection = True
            return
        self.content += body
        if to.command == "PATCH":
            say(to, 202, location="/upload", range=f"0-{len(self.content) - 1}")
        else:
            self.stored = self.content
            say(to, 201)


@pytest.mark.parametrize(
    ("breaks", "forgets"),
    [
        ([], False),
        ([("PATCH", 0)], False),
        ([("PATCH", 7_000)], False),
        ([("PATCH", 30_000), ("PATCH", 100), ("PUT", 0)], False),
        ([("PUT", 500)], False),
        ([("PATCH", 10)], True),
    ],
)
def test_an_upload_goes_on_where_it_broke_off(breaks: list[tuple[str, int]], forgets: bool) -> None:
    registry = Uploads(list(breaks), forgets=forgets)
    with odd_registry(registry) as name, repository(name, chunk_bytes=30_000) as client:
        assert client.upload(CONTENT, BLOB)
        assert registry.stored == CONTENT
        assert not client.upload(CONTENT, BLOB)
    if not forgets:
        assert registry.received <= len(CONTENT) + 30_000 * max(len(breaks), 1)


def test_an_upload_of_which_nobody_knows_how_much_came_ends() -> None:
    def answer(to: BaseHTTPRequestHandler) -> None:
        to.rfile.read(int(to.headers["content-length"] or 0))
        if to.command == "PUT":
            to.close_connection = True
        else:
            say(to, {"HEAD": 404, "POST": 202, "GET": 204}[to.command], location="/upload", range="5-9")

    with (
        odd_registry(answer) as name,
        repository(name) as client,
        pytest.raises(RegistryDenied, match="does not know how much of an upload came"),
    ):
        client.upload(CONTENT, BLOB)


class Tokens:
    """A registry that wants a token, and gives it to who has a password."""

    def __init__(self, secret: str, realm: str = "/token", answer: bytes | None = None) -> None:
        self.secret = secret
        self.realm = realm
        self.answer = answer
        self.asked = 0

    def __call__(self, to: BaseHTTPRequestHandler) -> None:
        if to.path.startswith("/token"):
            self.asked += 1
            allowed = to.headers["authorization"] == f"Basic {self.secret}" and "scope=repository" in to.path
            given = json.dumps({"token": "t0ken", "expires_in": 300}).encode()
            say(to, 200 if allowed else 401, given if self.answer is None else self.answer)
        elif to.headers["authorization"] == "Bearer t0ken":
            say(to, 200, b"{}")
        else:
            host = to.headers["host"]
            realm = f"http://{host}/token" if self.realm == "/token" else self.realm
            say(to, 401, www_authenticate=f'Bearer realm="{realm}",service="s",scope="repository:a:pull"')


@pytest.fixture
def logged_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file that `docker login` keeps credentials in."""
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    return tmp_path / "config.json"


def test_a_token_is_asked_for_once(logged_in: Path) -> None:
    tokens = Tokens(base64.b64encode(b"user:se:cret").decode())
    with odd_registry(tokens) as name:
        with repository(name) as client, pytest.raises(RegistryDenied, match="gives no token: log in"):
            client.manifest("1.0.0")
        logged_in.write_text(json.dumps({"auths": {name: {"auth": tokens.secret}}}))
        tokens.asked = 0
        with repository(name) as client:
            assert client.manifest("1.0.0") == client.manifest("1.0.1") == b"{}"
        assert tokens.asked == 1


@pytest.mark.parametrize("answer", [b"[]", b"{}", b'{"token": "a b"}', b'{"token": 1}', b"x" * 3_000])
def test_tokens_that_are_none(answer: bytes, logged_in: Path) -> None:
    tokens = Tokens(base64.b64encode(b"user:secret").decode(), answer=answer)
    with odd_registry(tokens) as name:
        logged_in.write_text(json.dumps({"auths": {name: {"auth": tokens.secret}}}))
        with repository(name) as client, pytest.raises(RegistryDenied, match="gives no token"):
            client.manifest("1.0.0")


@pytest.mark.parametrize("realm", ["ftp://localhost/token", "", "http://a:b"])
def test_a_token_is_not_asked_for_where_passwords_are_read(realm: str) -> None:
    with (
        odd_registry(Tokens("x", realm=realm)) as name,
        repository(name) as client,
        pytest.raises(RegistryDenied, match=r"where no password is sent|no address that gives tokens"),
    ):
        client.manifest("1.0.0")
    authentication = RegistryAuthentication(("user", "secret"), plain=False)
    with pytest.raises(RegistryDenied, match=r"evil\.example"):
        authentication.answer('Bearer realm="http://evil.example/token"', lambda _url, _headers: (200, b"{}"))


def test_who_is_not_let_in_is_told(logged_in: Path) -> None:
    with odd_registry(lambda to: say(to, 401, www_authenticate='Basic realm="r"')) as name:
        with repository(name) as client, pytest.raises(RegistryDenied, match=r"answers 401 .*: log in with"):
            client.manifest("1.0.0")
        for text in ("{", '{"auths": []}', json.dumps({"auths": {name: {"auth": "%"}}})):
            logged_in.write_text(text)
            with pytest.raises(RegistryDenied, match=r"config\.json: cannot be read"):
                repository(name)
        logged_in.write_text('{"auths": {}}')
        repository(name).__exit__()
        logged_in.write_text(json.dumps({"auths": {name: {"auth": base64.b64encode(b"user").decode()}}}))
        with pytest.raises(RegistryDenied, match="ValueError"):
            repository(name)


def test_plain_http_is_for_this_machine_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def answer(to: BaseHTTPRequestHandler) -> None:
        asked.append(to.path)
        say(to, 200, b"{}")

    with odd_registry(answer) as name:
        elsewhere = parse_reference(f"{name.replace('localhost', '127.0.0.1')}/a/b:1")
        monkeypatch.setattr(Reference, "is_loopback", False)
        with Repository(elsewhere, sleep=Waits()) as client, pytest.raises(RegistryUnavailable) as error:
            client.manifest("1")
        assert "SSL" in str(error.value.cause) and asked == []
        with Repository(elsewhere, insecure=True) as client:
            assert client.manifest("1") == b"{}"


class Repositories:
    """A registry with one bundle, whose code is not to be had as long as `away` says so."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.away = True
        self.asked: list[str] = []
        (self.entry,) = (one for one in layout.entries() if one.annotations)
        self.code = layout.manifest(self.entry).layers[0].digest

    def __call__(self, to: BaseHTTPRequestHandler) -> None:
        kind, _, asked = to.path.removeprefix("/v2/acme/reviewer/").partition("/")
        if kind == "referrers":
            about = self.layout.referrers(self.entry.digest)
            say(to, 200, index_bytes(about))
            return
        digest = self.entry.digest if asked == "1.2.0" else asked
        self.asked.append(digest)
        if digest == self.code and self.away:
            cut(to, self.layout.blob_file(digest).read_bytes(), 1_000)
        else:
            content = self.layout.blob_file(digest).read_bytes()
            start = int((to.headers["range"] or "bytes=0-").removeprefix("bytes=").rstrip("-"))
            said = f"bytes {start}-{len(content) - 1}/{len(content)}"
            say(to, 206 if start else 200, content[start:], content_range=said)


def test_a_pull_that_broke_off_goes_on_the_next_time(tmp_path: Path) -> None:
    key = new_key()
    layout, entry = built(tmp_path / "bundle")
    sign_bundle(layout, open_bundle(layout, entry), Signer(key=key), NOW)
    registry, publishers = Repositories(layout), Publishers(keys=(("acme", key.public_key()),))
    installations = Installations(tmp_path / "root")
    with odd_registry(registry) as name:
        reference = parse_reference(f"{name}/acme/reviewer:1.2.0")
        with Repository(reference, sleep=Waits()) as client:
            with pytest.raises(RegistryUnavailable, match="cannot be downloaded"):
                pull_bundle(client, installations, publishers, NOW)
            assert not (tmp_path / "root" / "acme").exists()
            registry.away = False
            registry.asked.clear()
            pulled = pull_bundle(client, installations, publishers, NOW)
    assert pulled.folder.is_dir() and pulled.accepted.bundle.digest == entry.digest
    config = layout.manifest(entry).config.digest
    assert config not in registry.asked and registry.asked.count(registry.code) == 1
    assert [path.suffix for path in (tmp_path / "root" / ".fetching").iterdir()] == [".lock"]
