"""People sign in at a real OpenID provider, choose a tenant, and end; programs use tokens."""

import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from orchestrator_tenancy.identities import Role
from orchestrator_tenancy.sign_in.wrapper import SignIn
from tests.integration.hostile_providers import began
from tests.integration.openid_providers import OpenIdProvider, new_key, openid_provider
from tests.integration.processes import wait_until
from tests.integration.sign_in_sites import Browser, Site, audited, browser, decisions


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    return Site(tmp_path_factory.mktemp("site"), "")


@pytest.fixture(scope="module")
def provider(site: Site) -> Iterator[OpenIdProvider]:
    with openid_provider(site.redirect_uri, f"{site.url}/sign-in") as running:
        yield running


@pytest.fixture
def served(site: Site, provider: OpenIdProvider, tmp_path: Path) -> Iterator[SignIn]:
    site.directory.change()
    site.configure(provider.issuer)
    site.place = str(tmp_path / "sign_in.db")
    with site.served() as wrapped:
        yield wrapped


@pytest.fixture
def visitor(site: Site) -> Iterator[Browser]:
    with browser(site) as opened:
        yield opened


def test_who_is_of_one_tenant_sees_the_page_that_they_wanted(served: SignIn, visitor: Browser) -> None:
    seen = visitor.sign_in("bob", "/runs?view=all#top").json()
    assert seen["path"] == "/runs" and seen["identity"]["tenant"] == "blue"
    assert seen["identity"]["role"] == "viewer" and seen["identity"]["name"] == "Bob"
    assert seen["identity"]["subject"] == f"user:{served.parts.settings.provider.issuer}#bob"
    assert decisions(served) == [("bob", "sign-in", "blue", True)]


def test_who_is_of_several_chooses_and_switches_without_signing_in_again(
    site: Site, served: SignIn, visitor: Browser
) -> None:
    page = visitor.sign_in("ada", "/runs")
    assert (
        page.url.path == "/sign-in/tenant"
        and "red (editor)" in page.text
        and "blue (tenant-admin)" in page.text
    )
    assert "<script" not in page.text and "&lt;script&gt;" in page.text
    refused = httpx.get(f"{site.url}/runs", cookies={"orchestrator-session": visitor.session()})
    assert refused.status_code == 403 and "choose a tenant first" in refused.text
    for tenant, role in (("red", "editor"), ("blue", "tenant-admin"), ("red", "editor")):
        chosen = visitor.post("/sign-in/tenant", {"tenant": tenant, "next": "/runs"})
        assert chosen.status_code == 303 and chosen.headers["location"] == "/runs"
        seen = visitor.get("/runs").json()["identity"]
        assert (seen["tenant"], seen["role"]) == (tenant, role)
    assert visitor.post("/sign-in/tenant", {"tenant": "green"}).status_code == 403
    assert visitor.post("/sign-in/tenant", {"tenant": ""}).status_code == 403
    assert decisions(served)[-2:] == [
        ("ada", "tenant.choose", "green", False),
        ("ada", "tenant.choose", None, False),
    ]


def test_an_operator_sees_all_or_one(served: SignIn, visitor: Browser) -> None:
    seen = visitor.sign_in("olga").json()["identity"]
    assert seen["role"] == "operator" and seen["tenant"] is None
    visitor.post("/sign-in/tenant", {"tenant": "green"})
    seen = visitor.get("/").json()["identity"]
    assert seen["role"] == "operator" and seen["tenant"] == "green"


def test_who_is_of_no_tenant_gets_no_session(served: SignIn, visitor: Browser) -> None:
    page = visitor.sign_in("eve")
    assert page.status_code == 403 and "you are Eve, who is of no tenant" in page.text.replace("You", "you")
    assert "orchestrator-session" not in visitor.client.cookies
    assert decisions(served) == [("eve", "sign-in", None, False)]


def test_who_says_no_at_the_provider_is_told_so(served: SignIn, visitor: Browser) -> None:
    page = visitor.sign_in("nobody")
    assert page.status_code == 403 and "&lt;b&gt;nobody&lt;/b&gt; said no" in page.text


def test_pages_load_nothing_from_elsewhere_and_are_not_kept(
    site: Site, served: SignIn, visitor: Browser
) -> None:
    for page in (visitor.get("/sign-in"), visitor.sign_in("ada")):
        assert page.headers["content-security-policy"].startswith("default-src 'none'")
        assert (
            page.headers["cache-control"] == "no-store"
            and page.headers["x-content-type-options"] == "nosniff"
        )
    assert visitor.get("/sign-in/style.css").headers["content-type"].startswith("text/css")


def test_a_members_role_counts_soon(site: Site, served: SignIn, visitor: Browser) -> None:
    visitor.sign_in("bob")
    site.directory.change(
        blue={"organisation": "acme", "plan": "free", "members": {"BOB@acme.example": {"role": "launcher"}}}
    )
    wait_until(lambda: visitor.get("/").json()["identity"]["role"] == "launcher", "he has another role")
    site.directory.change(blue=None)
    wait_until(lambda: visitor.get("/").status_code == 403, "his tenant is gone")
    assert "of no tenant" in visitor.get("/").text


def test_an_application_sees_no_credentials_and_nothing_in_their_place(
    site: Site, served: SignIn, visitor: Browser
) -> None:
    visitor.sign_in("bob")
    cookies = f"theme=dark; orchestrator-session={visitor.session()}"
    headers = {"Cookie": cookies, "X-Orchestrator-Identity": "operator", "X_Orchestrator_Role": "operator"}
    seen = httpx.get(f"{site.url}/", headers=headers).json()
    assert seen["headers"]["cookie"] == "theme=dark" and seen["identity"]["role"] == "viewer"
    assert not [name for name in seen["headers"] if "orchestrator" in name.lower()]


def test_signing_in_again_ends_the_session_before(site: Site, served: SignIn, visitor: Browser) -> None:
    visitor.sign_in("bob")
    before = visitor.session()
    visitor.get("/sign-in/start")
    assert visitor.session() != before
    assert httpx.get(f"{site.url}/", cookies={"orchestrator-session": before}).status_code == 401
    assert visitor.get("/").status_code == 200
    assert len(served.parts.stores.sessions.list()) == 1


def test_signing_out_ends_the_session_and_offers_to_end_the_providers(
    site: Site, served: SignIn, visitor: Browser, provider: OpenIdProvider
) -> None:
    visitor.sign_in("bob")
    session = visitor.session()
    page = visitor.post("/sign-in/out", {})
    assert page.status_code == 200 and f"{provider.issuer}/session/end?client_id=orchestrator" in page.text
    assert "Max-Age=0" in page.headers["set-cookie"]
    assert httpx.get(f"{site.url}/", cookies={"orchestrator-session": session}).status_code == 401
    assert decisions(served)[-1] == ("bob", "sign-out", "blue", True)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site", "Origin": "SITE"},
        {"Sec-Fetch-Site": "none"},
        {"Origin": "SITE.evil.example"},
    ],
)
def test_a_page_of_another_site_changes_nothing(
    site: Site, served: SignIn, visitor: Browser, headers: dict[str, str]
) -> None:
    visitor.sign_in("bob")
    cookies = {"orchestrator-session": visitor.session()}
    sent = {name: value.replace("SITE", site.url) for name, value in headers.items()}
    for method, path in (("POST", "/graphql"), ("PUT", "/graphql"), ("POST", "/sign-in/out"), ("PATCH", "/")):
        answer = httpx.request(method, f"{site.url}{path}", headers=sent, cookies=cookies)
        assert answer.status_code == 403, (method, path)
    assert decisions(served)[-1] == ("bob", "request", "blue", False)
    assert visitor.post("/graphql", {}).status_code == 200, "the same from the site itself"


def test_a_websocket_is_opened_from_the_site_alone(site: Site, served: SignIn, visitor: Browser) -> None:
    visitor.sign_in("bob")
    url = f"ws{site.url[4:]}/graphql"
    cookie = {"Cookie": f"orchestrator-session={visitor.session()}"}
    for headers in ({}, {"Origin": "https://evil.example"}):
        with pytest.raises(InvalidStatus), connect(url, additional_headers={**cookie, **headers}):
            pass
    with pytest.raises(InvalidStatus), connect(url, additional_headers={"Origin": site.url}):
        pass
    with connect(url, additional_headers={**cookie, "Origin": site.url}) as socket:
        socket.send("hello")
        assert socket.recv() == "blue: hello"


def test_a_websocket_ends_within_seconds_of_its_session(site: Site, served: SignIn, visitor: Browser) -> None:
    visitor.sign_in("bob")
    headers = {"Cookie": f"orchestrator-session={visitor.session()}", "Origin": site.url}
    with connect(f"ws{site.url[4:]}/", additional_headers=headers) as socket:
        (session,) = served.parts.stores.sessions.list()
        assert served.parts.stores.sessions.revoke(session.id), "as another server, or the command line"
        began = time.monotonic()
        with pytest.raises(ConnectionClosed) as ended:
            socket.recv(timeout=10)
        assert ended.value.rcvd is not None and ended.value.rcvd.code == 4401
        assert time.monotonic() - began < 5


def test_a_websocket_ends_when_its_owner_goes_to_another_tenant(
    site: Site, served: SignIn, visitor: Browser
) -> None:
    visitor.sign_in("ada")
    visitor.post("/sign-in/tenant", {"tenant": "red"})
    headers = {"Cookie": f"orchestrator-session={visitor.session()}", "Origin": site.url}
    with connect(f"ws{site.url[4:]}/", additional_headers=headers) as socket:
        visitor.post("/sign-in/tenant", {"tenant": "blue"})
        with pytest.raises(ConnectionClosed):
            socket.recv(timeout=10)


def test_a_long_answer_ends_with_its_session(site: Site, served: SignIn, visitor: Browser) -> None:
    visitor.sign_in("bob")
    (session,) = served.parts.stores.sessions.list()
    cookies = {"orchestrator-session": visitor.session()}
    with httpx.stream("GET", f"{site.url}/slow", cookies=cookies) as answer:
        chunks = answer.iter_raw()
        next(chunks)
        served.parts.stores.sessions.revoke(session.id)
        with pytest.raises(httpx.RemoteProtocolError):
            for _ in chunks:
                pass


def test_a_token_is_of_one_tenant_until_it_is_revoked(site: Site, served: SignIn) -> None:
    token, text = served.parts.stores.tokens.create(name="CI", tenant="red", role=Role.LAUNCHER, days=1)
    headers = {"Authorization": f"Bearer {text}"}
    seen = httpx.post(f"{site.url}/launch", headers=headers).json()
    assert seen["identity"] == {
        "subject": f"token:{token.id}",
        "name": "CI",
        "role": "launcher",
        "tenant": "red",
        "session": token.id,
    }
    assert "authorization" not in seen["headers"]
    with connect(f"ws{site.url[4:]}/", additional_headers=headers) as socket:
        served.parts.stores.tokens.revoke(token.id)
        with pytest.raises(ConnectionClosed):
            socket.recv(timeout=10)
    assert httpx.get(f"{site.url}/", headers=headers).status_code == 401
    assert decisions(served) == [
        (f"token:{token.id}", "run.launch", "red", True),
        ("nobody", "token", None, False),
    ]


def test_a_token_makes_no_tokens(site: Site, served: SignIn) -> None:
    _, text = served.parts.stores.tokens.create(name="CI", tenant="red", role=Role.TENANT_ADMIN, days=1)
    headers = {"Authorization": f"Bearer {text}"}
    asked = {"name": "more", "role": "viewer", "days": 300}
    answer = httpx.post(f"{site.url}/sign-in/tokens", json=asked, headers=headers)
    assert answer.status_code == 403 and "outlive" in answer.text
    assert httpx.get(f"{site.url}/sign-in/who", headers=headers).json()["role"] == "tenant-admin"


def test_a_token_of_a_tenant_that_is_gone_is_none(site: Site, served: SignIn) -> None:
    _, text = served.parts.stores.tokens.create(name="CI", tenant="purple", role=Role.VIEWER, days=1)
    assert httpx.get(f"{site.url}/", headers={"Authorization": f"Bearer {text}"}).status_code == 401


@pytest.mark.parametrize("shown", ["Bearer", "Bearer x", "bearer orchestrator_0_0", f"Bearer {'x' * 5_000}"])
def test_with_a_bad_token_the_session_does_not_count(
    site: Site, served: SignIn, visitor: Browser, shown: str
) -> None:
    visitor.sign_in("bob")
    cookies = {"orchestrator-session": visitor.session()}
    assert httpx.get(f"{site.url}/", headers={"Authorization": shown}, cookies=cookies).status_code == 401


def test_an_administrator_manages_the_tenants_tokens(site: Site, served: SignIn, visitor: Browser) -> None:
    visitor.sign_in("ada")
    visitor.post("/sign-in/tenant", {"tenant": "red"})
    site_headers = {"Origin": site.url}
    url = f"{site.url}/sign-in/tokens"
    asked = {"name": "CI", "role": "launcher", "days": 30}
    assert visitor.client.post(url, json=asked, headers=site_headers).status_code == 403, "an editor of red"
    visitor.post("/sign-in/tenant", {"tenant": "blue"})
    assert (
        visitor.client.post(url, json={**asked, "role": "operator"}, headers=site_headers).status_code == 400
    )
    assert visitor.client.post(url, json={**asked, "days": 0}, headers=site_headers).status_code == 400
    assert visitor.client.post(url, content=b"{}", headers=site_headers).status_code == 400, "no JSON"
    made = visitor.client.post(url, json=asked, headers=site_headers)
    assert made.status_code == 201 and made.json()["text"].startswith("orchestrator_")
    bearer = {"Authorization": f"Bearer {made.json()['text']}"}
    assert httpx.get(f"{site.url}/", headers=bearer).json()["identity"]["tenant"] == "blue"
    listed = visitor.client.get(url).json()
    assert [row["name"] for row in listed] == ["CI"] and "text" not in listed[0]
    other, _ = served.parts.stores.tokens.create(name="other", tenant="red", role=Role.VIEWER, days=1)
    assert visitor.client.delete(f"{url}/{other.id}", headers=site_headers).status_code == 400, (
        "of another tenant"
    )
    assert visitor.client.delete(f"{url}/{listed[0]['token']}", headers=site_headers).status_code == 200
    assert httpx.get(f"{site.url}/", headers=bearer).status_code == 401


def test_people_end_their_own_sessions(site: Site, served: SignIn, visitor: Browser) -> None:
    visitor.sign_in("bob")
    with browser(site) as elsewhere:
        elsewhere.sign_in("bob")
        with browser(site) as other:
            other.sign_in("olga")
            url, headers = f"{site.url}/sign-in/sessions", {"Origin": site.url}
            own = visitor.client.get(url).json()
            assert len(own) == 2
            (foreign,) = other.client.get(url).json()
            assert visitor.client.delete(f"{url}/{foreign['session']}", headers=headers).status_code == 404
            for row in own[1:]:
                assert visitor.client.delete(f"{url}/{row['session']}", headers=headers).status_code == 200
            assert elsewhere.client.get(f"{site.url}/").status_code == 401
            assert other.client.get(f"{site.url}/").status_code == 200


def test_what_the_application_refuses_is_recorded(site: Site, served: SignIn, visitor: Browser) -> None:
    visitor.sign_in("bob")
    assert visitor.get("/refuse").status_code == 403
    last = audited(served)[-1].event
    assert (last.action, last.target, last.allowed) == ("request", "GET /refuse", False)


def test_programs_are_told_what_to_do_and_people_are_sent_there(site: Site, served: SignIn) -> None:
    answer = httpx.get(f"{site.url}/runs?a=1")
    assert answer.status_code == 401 and answer.headers["www-authenticate"] == "Bearer"
    assert answer.json()["error"] == f"sign in at {site.url}/sign-in, or send an API token"
    page = httpx.get(f"{site.url}/runs?a=1&b=2", headers={"Accept": "text/html"})
    assert page.headers["location"] == "/sign-in/start?next=%2Fruns%3Fa%3D1%26b%3D2"
    assert httpx.post(f"{site.url}/runs", headers={"Accept": "text/html"}).status_code == 401
    assert httpx.get(f"{site.url}/sign-in/ready").text == "ready"
    for path, status in (("/sign-in/who", 401), ("/sign-in/nowhere", 401)):
        assert httpx.get(f"{site.url}{path}").status_code == status


def test_the_provider_may_change_its_keys(
    site: Site, provider: OpenIdProvider, served: SignIn, visitor: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestrator_tenancy.sign_in.provider_facts.PAUSE_SECONDS", 0.0)
    visitor.sign_in("bob")
    first = provider.keys
    provider.stop()
    provider.keys = [new_key("second")]
    try:
        provider.start()
        with browser(site) as other:
            assert other.sign_in("olga").status_code == 200
        assert visitor.get("/").status_code == 200
    finally:
        provider.stop()
        provider.keys = first
        provider.start()


def test_while_the_provider_is_down_sessions_go_on(
    site: Site, provider: OpenIdProvider, served: SignIn, visitor: Browser, tmp_path: Path
) -> None:
    visitor.sign_in("bob")
    provider.stop()
    try:
        assert visitor.get("/").status_code == 200
        with httpx.Client() as other:
            asked = began(other.get(f"{site.url}/sign-in/start").headers["location"])
            answer = {"code": "x", "state": asked["state"], "iss": provider.issuer}
            page = other.get(f"{site.url}/sign-in/callback", params=answer)
            assert page.status_code == 503 and "Whoever is signed in can go on working" in page.text
    finally:
        provider.start()


def test_names_and_groups_may_be_told_at_the_userinfo_endpoint_only(tmp_path: Path) -> None:
    site = Site(tmp_path, str(tmp_path / "sign_in.db"))
    with openid_provider(site.redirect_uri, site.url, userinfo_only=True) as provider:
        site.configure(provider.issuer)
        with site.served(), browser(site) as visitor:
            assert visitor.sign_in("ada").status_code == 403, "nothing says what she may"
        site.configure(provider.issuer, provider={"userinfo": True})
        with site.served(), browser(site) as visitor:
            assert "red (editor)" in visitor.sign_in("ada").text
