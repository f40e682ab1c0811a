"""What is read of requests: paths, cookies, credentials, origins."""

from urllib.parse import urljoin, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator_tenancy.sign_in.credentials import (
    CookieNames,
    Credential,
    read_cookies,
    read_credential,
    without_credentials,
)
from orchestrator_tenancy.sign_in.paths import safe_path
from orchestrator_tenancy.sign_in.request_origins import foreign

HTTPS = CookieNames(https=True)
ORIGIN = "https://orchestrator.example"


@pytest.mark.parametrize(
    ("path", "prefix", "safe"),
    [
        ("/runs?view=all&a=%20", "", "/runs?view=all&a=%20"),
        ("/läufe", "", "/l%C3%A4ufe"),
        ("/agents/runs", "/agents", "/agents/runs"),
        ("/runs", "/agents", "/agents/"),
        ("/agentsx", "/agents", "/agents/"),
        ("//evil.example", "", "/"),
        ("/\\evil.example", "", "/"),
        ("/a/../b", "", "/"),
        ("/sign-in/tenant", "", "/"),
    ],
)
def test_a_path_stays_below_the_platform(path: str, prefix: str, safe: str) -> None:
    assert safe_path(path, prefix) == safe


@given(st.text(alphabet=st.sampled_from("/\\.:@?#%evil\r\n\t \x00é\udcff0a"), max_size=30))
def test_no_text_leads_elsewhere(text: str) -> None:
    found = safe_path(text, "")
    assert urlsplit(urljoin(f"{ORIGIN}/x", found)).netloc == "orchestrator.example"
    assert found.isascii() and found.isprintable() and "\\" not in found


def test_cookies_of_https_cannot_be_set_by_other_hosts() -> None:
    cookie = HTTPS.set(HTTPS.session, "secret")
    assert cookie == "__Host-orchestrator-session=secret; Path=/; HttpOnly; SameSite=Lax; Secure"
    assert HTTPS.set(HTTPS.attempt("1"), "").endswith("; Secure; Max-Age=0")
    plain = [(b"cookie", b"orchestrator-session=secret")]
    assert read_credential(plain, HTTPS) is None, "the name without the prefix, which anybody could set"


@given(st.lists(st.binary(max_size=60), max_size=5))
def test_no_cookies_break_it(values: list[bytes]) -> None:
    headers = [(b"cookie", value) for value in values]
    read_cookies(headers)
    read_credential(headers, HTTPS)
    assert not any(b"__Host-orchestrator" in value for _, value in without_credentials(headers, HTTPS))


def test_a_token_counts_before_a_session() -> None:
    cookie = (b"cookie", b"__Host-orchestrator-session=s")
    assert read_credential([cookie], HTTPS) == Credential("session", "s")
    assert read_credential([cookie, (b"authorization", b"bearer  t ")], HTTPS) == Credential("token", "t")
    assert read_credential([cookie, (b"authorization", b"Basic eDp5")], HTTPS) == Credential("session", "s")
    twice = [cookie, (b"authorization", b"Bearer a"), (b"authorization", b"Bearer b")]
    assert read_credential(twice, HTTPS) == Credential("token", "")
    assert "secret" not in repr(Credential("token", "secret"))


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
def test_reading_may_come_from_anywhere(method: str) -> None:
    assert foreign([(b"origin", b"https://evil.example")], method=method, origin=ORIGIN) is None


@pytest.mark.parametrize("method", ["POST", "DELETE", "PATCH", "X", None])
def test_changing_may_come_from_the_platform_only(method: str | None) -> None:
    own, other = (b"origin", ORIGIN.encode()), (b"origin", b"https://evil.example")
    same, cross = (b"sec-fetch-site", b"same-origin"), (b"sec-fetch-site", b"cross-site")
    for headers in ([own], [own, same], [(b"origin", ORIGIN.upper().encode())]):
        assert foreign(headers, method=method, origin=ORIGIN) is None, headers
    for headers in ([], [other], [other, same], [own, own], [own, other], [cross], [(b"origin", b"null")]):
        assert foreign(headers, method=method, origin=ORIGIN), headers
    assert (foreign([same], method=method, origin=ORIGIN) is None) == (method is not None)
    assert (foreign([own, cross], method=method, origin=ORIGIN) is None) == (method is None)
