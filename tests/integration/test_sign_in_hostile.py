"""What a sign-in does about a provider, a browser or a program that is hostile, slow or wrong."""

import asyncio
import base64
import collections
import functools
import hmac
import json
import time
import tracemalloc
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.types import Message

from orchestrator_resources.sqlite_state import SqliteState
from orchestrator_tenancy.identities import Role
from orchestrator_tenancy.sign_in.people import Grant, Person
from orchestrator_tenancy.sign_in.wrapper import SignIn, sign_in
from tests.integration.hostile_providers import KEY, OTHER, HostileProvider, began, hostile_provider
from tests.integration.sign_in_sites import Site, application, audited


@pytest.fixture
def provider() -> Iterator[HostileProvider]:
    with hostile_provider() as running:
        yield running


@pytest.fixture
def site(provider: HostileProvider, tmp_path: Path) -> Site:
    site = Site(tmp_path, str(tmp_path / "sign_in.db"))
    site.configure(provider.issuer, provider={"timeout_seconds": 4.0})
    return site


@pytest.fixture
def served(site: Site) -> Iterator[SignIn]:
    with site.served() as wrapped:
        yield wrapped


def attempt(
    site: Site, provider: HostileProvider, answer: Mapping[str, str] | None = None, *, keep: bool = True
) -> httpx.Response:
    """Sign in, as a browser that comes back with some answer; return where that leads."""
    with httpx.Client() as client:
        sent = client.get(f"{site.url}/sign-in/start?next=/runs")
        assert sent.status_code == 303, sent.text
        asked = began(sent.headers["location"])
        provider.nonce = asked["nonce"]
        if not keep:
            client.cookies.clear()
        parameters = {"code": "c", "state": asked["state"], **(answer or {})}
        return client.get(
            f"{site.url}/sign-in/callback", params={k: v for k, v in parameters.items() if v != "-"}
        )


def written(algorithm: str, claims: Mapping[str, Any]) -> str:
    parts = [{"alg": algorithm, "kid": "own"}, claims]
    return ".".join(_encoded(json.dumps(part).encode()) for part in parts)


def _encoded(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def test_a_proper_answer_signs_in(site: Site, provider: HostileProvider, served: SignIn) -> None:
    done = attempt(site, provider)
    assert done.status_code == 303 and done.headers["location"] == "/runs"
    cookie = next(c for c in done.headers.get_list("set-cookie") if c.startswith("orchestrator-session="))
    assert cookie.endswith("; Path=/; HttpOnly; SameSite=Lax")


def test_the_provider_is_asked_as_the_standards_say(
    site: Site, provider: HostileProvider, served: SignIn
) -> None:
    sent = httpx.get(f"{site.url}/sign-in/start")
    asked = began(sent.headers["location"])
    assert asked["response_type"] == "code" and asked["code_challenge_method"] == "S256"
    assert asked["redirect_uri"] == site.redirect_uri and asked["scope"] == "openid profile email"
    assert min(len(asked[name]) for name in ("state", "nonce", "code_challenge")) >= 43


def test_by_https_and_below_a_path_cookies_are_bound_to_the_host(
    site: Site, provider: HostileProvider
) -> None:
    site.configure(provider.issuer, url="https://orchestrator.example/agents")
    with site.served():
        wanted = httpx.get(f"{site.url}/agents/runs", headers={"Accept": "text/html"})
        assert wanted.headers["location"] == "/agents/sign-in/start?next=%2Fagents%2Fruns"
        sent = httpx.get(f"{site.url}{wanted.headers['location']}")
        asked = began(sent.headers["location"])
        assert asked["redirect_uri"] == "https://orchestrator.example/agents/sign-in/callback"
        cookie = sent.headers["set-cookie"]
        assert cookie.startswith(f"__Host-orchestrator-sign-in-{asked['state'][0]}=")
        assert cookie.endswith("; Path=/; HttpOnly; SameSite=Lax; Secure; Max-Age=600")
        provider.nonce = asked["nonce"]
        done = httpx.get(
            f"{site.url}/agents/sign-in/callback",
            params={"code": "c", "state": asked["state"]},
            headers={"Cookie": cookie.partition(";")[0]},
        )
        assert done.headers["location"] == "/agents/runs"
        session = next(c for c in done.headers.get_list("set-cookie") if "session=" in c)
        assert session.startswith("__Host-orchestrator-session=") and session.endswith(
            "; SameSite=Lax; Secure"
        )
        shown = {"Cookie": session.partition(";")[0]}
        assert httpx.get(f"{site.url}/agents/runs", headers=shown).json()["identity"]["tenant"] == "red"
        plain = {"Cookie": session.partition(";")[0].removeprefix("__Host-")}
        assert httpx.get(f"{site.url}/agents/runs", headers=plain).status_code == 401


@pytest.mark.parametrize(
    ("claims", "why"),
    [
        ({"exp": int(time.time()) - 61}, "expired"),
        ({"exp": None}, "exp"),
        ({"exp": float("nan")}, "cannot be read|exp|signed"),
        ({"iat": int(time.time()) + 300}, "iat"),
        ({"nbf": int(time.time()) + 300}, "nbf"),
        ({"iss": "https://evil.example"}, "iss"),
        ({"iss": None}, "iss"),
        ({"aud": "somebody-else"}, "aud"),
        ({"aud": None}, "aud"),
        ({"aud": ["orchestrator", "somebody-else"]}, "azp"),
        ({"azp": "somebody-else"}, "azp"),
        ({"nonce": "another"}, "nonce"),
        ({"nonce": None}, "nonce"),
        ({"at_hash": "AAAA"}, "at_hash"),
        ({"sub": None}, "sub"),
        ({"sub": ""}, "sub"),
        ({"sub": "x" * 256}, "sub"),
        ({"sub": ["ada"]}, "sub"),
        ({"sub": "a\nb"}, "sub"),
    ],
)
def test_a_token_of_another_time_client_or_sign_in_is_refused(
    site: Site, provider: HostileProvider, served: SignIn, claims: dict[str, Any], why: str
) -> None:
    provider.claims = claims
    done = attempt(site, provider)
    assert done.status_code == 403, done.text
    assert any(word in done.text for word in why.split("|")), done.text
    assert not [c for c in done.headers.get_list("set-cookie") if "session" in c]
    assert [(r.event.action, r.event.allowed) for r in audited(served)] == [("sign-in", False)]


@pytest.mark.parametrize("exp", [-30, 1])
def test_a_clock_may_be_a_minute_wrong(
    site: Site, provider: HostileProvider, served: SignIn, exp: int
) -> None:
    provider.claims = {"exp": int(time.time()) + exp, "iat": int(time.time()) + 45}
    assert attempt(site, provider).status_code == 303


def test_a_forged_token_is_refused(site: Site, provider: HostileProvider, served: SignIn) -> None:
    proper = {
        "iss": provider.issuer,
        "sub": "olga",
        "aud": "orchestrator",
        "exp": int(time.time()) + 300,
        "iat": int(time.time()),
        "groups": ["platform-operators"],
    }
    text = written("HS256", proper)
    hashed = f"{text}.{_encoded(hmac.digest(KEY.as_pem(private=False), text.encode(), 'sha256'))}"
    provider.key = OTHER
    by_another = provider.signed()
    provider.key = KEY
    good = provider.signed()
    head, body, signature = good.split(".")
    forged = (
        by_another,
        hashed,
        f"{written('none', proper)}.",
        f"{head}.{body}.",
        f"{head}.{body}",
        "",
        "...",
        "x" * 200_000,
    )
    changed = f"{head}.{body[:-4]}AAAA.{signature}"
    for token in (*forged, changed):
        provider.token = token or " "
        assert attempt(site, provider).status_code == 403, token[:60]


@pytest.mark.parametrize(
    "answer",
    [
        {"state": "0another"},
        {"state": "-"},
        {"state": ""},
        {"code": "-"},
        {"iss": "https://evil.example"},
        {"error": "access_denied", "code": "-"},
    ],
)
def test_an_answer_to_another_sign_in_is_refused(
    site: Site, provider: HostileProvider, served: SignIn, answer: dict[str, str]
) -> None:
    assert attempt(site, provider, answer).status_code == 403
    assert "/token" not in provider.asked, "no code is redeemed for it"


def test_an_answer_in_another_browser_is_refused(
    site: Site, provider: HostileProvider, served: SignIn
) -> None:
    done = attempt(site, provider, keep=False)
    assert done.status_code == 403 and "did not begin a sign-in" in done.text


def test_an_answer_counts_once(site: Site, provider: HostileProvider, served: SignIn) -> None:
    with httpx.Client() as client:
        asked = began(client.get(f"{site.url}/sign-in/start").headers["location"])
        provider.nonce = asked["nonce"]
        url = f"{site.url}/sign-in/callback?code=c&state={asked['state']}"
        assert client.get(url).status_code == 303
        assert client.get(url).status_code == 403


def test_an_issuer_that_says_it_names_itself_must(
    site: Site, provider: HostileProvider, served: SignIn
) -> None:
    provider.metadata = {"authorization_response_iss_parameter_supported": True}
    assert attempt(site, provider).status_code == 403
    assert attempt(site, provider, {"iss": provider.issuer}).status_code == 303


@pytest.mark.parametrize(
    ("path", "answer"),
    [
        ("/token", (500, b"{}")),
        ("/token", (200, b"no JSON")),
        ("/token", (200, b"[]")),
        ("/token", (302, b"https://evil.example/")),
        ("/token", (200, b'{"x": "' + b"x" * 2_000_000 + b'"}')),
        ("/token", (200, b"[" * 100_000)),
        ("/keys", (200, b'{"keys": []}')),
        ("/keys", (200, b'{"keys": [{"kty": "oct", "k": "AAAA", "kid": "own"}]}')),
        ("/keys", (200, b'{"keys": [{"kty": "RSA", "n": 1, "e": [], "kid": "own"}, 7]}')),
        ("/keys", (200, b"x" * 2_000_000)),
    ],
)
def test_a_provider_that_answers_with_rubbish_is_told_of(
    site: Site, provider: HostileProvider, served: SignIn, path: str, answer: tuple[int, bytes]
) -> None:
    provider.answers[path] = answer
    done = attempt(site, provider)
    assert done.status_code == 503 and done.headers["retry-after"] == "5"
    assert "does not answer as it should" in done.text and "/sign-in/start?next=%2Fruns" in done.text


@pytest.mark.parametrize(
    "metadata",
    [
        {"issuer": "https://evil.example"},
        {"issuer": None},
        {"token_endpoint": None},
        {"authorization_endpoint": "javascript:alert(1)"},
        {"authorization_endpoint": "http://ok.example/\r\nSet-Cookie: a=b"},
        {"jwks_uri": "file:///etc/passwd"},
        {"jwks_uri": 7},
    ],
)
def test_metadata_that_cannot_be_used_signs_nobody_in(
    site: Site,
    provider: HostileProvider,
    served: SignIn,
    metadata: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("orchestrator_tenancy.sign_in.provider_facts.PAUSE_SECONDS", 0.0)
    provider.metadata = metadata
    assert httpx.get(f"{site.url}/sign-in/start").status_code == 503
    provider.metadata = {}
    assert httpx.get(f"{site.url}/sign-in/start").status_code == 303, "it is asked again"


def test_a_provider_that_is_slow_or_down_holds_up_nobody(
    site: Site, provider: HostileProvider, served: SignIn
) -> None:
    person = Person(
        issuer=provider.issuer,
        subject="olga",
        name="Olga",
        email=None,
        grants=(Grant(tenant=None, role=Role.OPERATOR),),
    )
    _, session = served.parts.stores.sessions.begin(person, None)
    provider.pause = 8.0
    began_at = time.monotonic()
    with ThreadPoolExecutor(10) as threads:
        urls = [f"{site.url}/sign-in/start"] * 10
        answers = list(threads.map(functools.partial(httpx.get, timeout=20), urls))
    assert {answer.status_code for answer in answers} == {503}
    assert time.monotonic() - began_at < 20, "a wait is bounded by four seconds, and all wait for the same"
    assert len(provider.asked) == 1
    assert httpx.get(f"{site.url}/", cookies={"orchestrator-session": session}).status_code == 200


@pytest.mark.parametrize(
    "wanted",
    [
        "https://evil.example/",
        "//evil.example/",
        "/\\evil.example/",
        "\\\\evil.example",
        "/%0d%0aSet-Cookie:a=b",
        "/\r\nSet-Cookie: a=b",
        "javascript:alert(1)",
        "/sign-in/out",
        "/../../evil",
        "/\t/evil.example",
        "/" + "x" * 5_000,
        "/\udcff",
        "",
    ],
)
def test_nobody_is_sent_elsewhere(site: Site, provider: HostileProvider, served: SignIn, wanted: str) -> None:
    with httpx.Client() as client:
        url = httpx.URL(f"{site.url}/sign-in/start")
        sent = client.get(url, params={"next": wanted.encode("utf-8", "surrogatepass").decode("latin-1")})
        asked = began(sent.headers["location"])
        provider.nonce = asked["nonce"]
        done = client.get(f"{site.url}/sign-in/callback?code=c&state={asked['state']}")
        location = done.headers["location"]
        assert location.startswith("/") and not location.startswith(("//", "/\\", "/sign-in")), location
        assert location.isascii() and location.isprintable()
        assert {c.partition("=")[0] for c in done.headers.get_list("set-cookie")} <= {
            "orchestrator-session",
            f"orchestrator-sign-in-{asked['state'][0]}",
        }


def test_a_browser_keeps_a_bounded_number_of_sign_ins(
    site: Site, provider: HostileProvider, served: SignIn
) -> None:
    with httpx.Client() as client:
        for _ in range(20):
            client.get(f"{site.url}/sign-in/start?next=/{'x' * 900}")
        assert len(client.cookies) <= 4
        assert sum(len(cookie.value or "") for cookie in client.cookies.jar) < 8_192


@pytest.mark.parametrize(
    "cookie",
    [
        "orchestrator-session=" + "x" * 10_000,
        "; ".join(f"c{n}=v" for n in range(2_000)),
        "orchestrator-session=a; orchestrator-session=b",
        "=;;;==",
        'orchestrator-session="',
        "orchestrator-session=\xff\xfe",
    ],
)
def test_cookies_that_are_none_sign_nobody_in(site: Site, served: SignIn, cookie: str) -> None:
    answer = httpx.get(f"{site.url}/", headers=[(b"Cookie", cookie.encode("latin-1"))])
    assert answer.status_code == 401


def test_a_second_session_that_somebody_put_in_counts_as_none(
    site: Site, provider: HostileProvider, served: SignIn
) -> None:
    session = attempt(site, provider).cookies["orchestrator-session"]
    one = f"orchestrator-session={session}"
    assert httpx.get(f"{site.url}/", headers={"Cookie": one}).status_code == 200
    assert httpx.get(f"{site.url}/", headers={"Cookie": f"{one}; {one}x"}).status_code == 401


@pytest.mark.parametrize(
    "query", ["code=a&code=b&state=0", "a=" + "x" * 10_000, "&".join(f"a{n}=" for n in range(99)), "a=%ff"]
)
def test_a_query_that_cannot_be_read_is_refused(site: Site, served: SignIn, query: str) -> None:
    assert httpx.get(f"{site.url}/sign-in/callback?{query}").status_code == 400


def test_one_address_is_throttled(site: Site, provider: HostileProvider, served: SignIn) -> None:
    with httpx.Client() as client:
        answers = [client.get(f"{site.url}/sign-in/start") for _ in range(300)]
    let = sum(answer.status_code == 303 for answer in answers)
    refused = [answer for answer in answers if answer.status_code == 429]
    assert 60 <= let <= 75 and let + len(refused) == 300
    assert int(refused[0].headers["retry-after"]) >= 1 and "Too many sign-ins" in refused[0].text
    assert provider.asked == ["/.well-known/openid-configuration"], "the provider is asked once"
    assert [record.event.action for record in audited(served)] == ["throttle"], "one record, not hundreds"


def test_ten_thousand_sign_ins_of_as_many_addresses_take_bounded_memory(
    site: Site, provider: HostileProvider
) -> None:
    wrapped = sign_in(application, site.file, site.directory, SqliteState(Path(site.place)))
    statuses = collections.Counter[int]()

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            statuses[message["status"]] += 1

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def asked(number: int) -> None:
        scope = {
            "type": "http",
            "method": "GET",
            "path": "/sign-in/start",
            "query_string": b"next=/" + b"x" * 900,
            "headers": [(b"cookie", b"c=" + b"x" * 4_000)],
            "client": (f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}", 1),
        }
        await wrapped(scope, receive, send)

    async def scenario() -> int:
        await asked(0)
        tracemalloc.start()
        try:
            for number in range(1, 10_001):
                await asked(number)
            return tracemalloc.get_traced_memory()[0]
        finally:
            tracemalloc.stop()

    kept = asyncio.run(scenario())
    assert statuses[303] + statuses[429] == 10_001 and 600 <= statuses[303] < 2_000
    assert kept < 10 * 2**20, f"{kept} bytes"
    assert [record.event.action for record in audited(wrapped)] == ["throttle"]
    wrapped.parts.close()


def test_guessing_tokens_is_throttled_and_holds_up_nobody_who_is_known(
    site: Site, provider: HostileProvider, served: SignIn
) -> None:
    session = attempt(site, provider).cookies["orchestrator-session"]
    known = {"orchestrator-session": session}
    assert httpx.get(f"{site.url}/", cookies=known).status_code == 200
    with httpx.Client() as client:
        guesses = [f"Bearer orchestrator_{n:016x}_{'x' * 43}" for n in range(100)]
        answers = [
            client.get(f"{site.url}/", headers={"Authorization": guess}).status_code for guess in guesses
        ]
    assert 60 <= answers.count(401) <= 75 and answers.count(429) == 100 - answers.count(401)
    assert httpx.get(f"{site.url}/", cookies=known).status_code == 200


def test_when_the_database_is_away_nobody_is_let_in_and_all_are_told(
    site: Site, provider: HostileProvider, served: SignIn, tmp_path: Path
) -> None:
    session = attempt(site, provider).cookies["orchestrator-session"]
    (tmp_path / "sign_in.db").write_bytes(b"no database" * 1_000)
    for suffix in ("-wal", "-shm"):
        (tmp_path / f"sign_in.db{suffix}").unlink(missing_ok=True)
    time.sleep(0.3)
    for url in ("/", "/sign-in/ready", "/sign-in/who"):
        answer = httpx.get(f"{site.url}{url}", cookies={"orchestrator-session": session})
        assert answer.status_code == 503 and answer.headers["retry-after"] == "5"
    assert attempt(site, provider).status_code == 503
