"""Tokens: only the gateway's own are read, whatever a guest makes of them."""

import base64
import time
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator_gateway.tokens import (
    TOKEN_CHARACTERS,
    BadToken,
    Claims,
    check_trusted,
    issue,
    issue_trusted,
    read,
    tenant_secret,
)

SECRET = b"s" * 32
CLAIMS = Claims(tenant="t", execution="e", attempt="a", agent="d", until=1e9, expires=2e9, known=("k",))
texts = st.text(max_size=50)


@given(
    tenant=texts, execution=texts, attempt=texts, agent=texts, known=st.lists(texts, max_size=5).map(tuple)
)
def test_what_is_issued_is_read(
    tenant: str, execution: str, attempt: str, agent: str, known: tuple[str, ...]
) -> None:
    claims = Claims(
        tenant=tenant, execution=execution, attempt=attempt, agent=agent, until=1e9, expires=2e9, known=known
    )
    assert read(SECRET, issue(SECRET, claims)) == claims


@given(at=st.integers(min_value=0), by=st.characters(codec="ascii"))
def test_a_changed_token_is_refused(at: int, by: str) -> None:
    token = issue(SECRET, CLAIMS)
    at %= len(token)
    changed = token[:at] + by + token[at + 1 :]
    try:
        assert read(SECRET, changed) == CLAIMS, "only a change that means the same is read"
    except BadToken:
        assert changed != token


@given(st.text(max_size=200))
def test_any_text_is_refused_by_name(text: str) -> None:
    with pytest.raises(BadToken):
        read(SECRET, text)


@pytest.mark.parametrize(
    ("token", "words"),
    [
        (issue(b"o" * 32, CLAIMS), "not issued for this gateway"),
        (issue(SECRET, replace(CLAIMS, expires=time.time() - 1)), "has expired"),
        (issue(SECRET, CLAIMS).replace("v1.", "v2.", 1), "no token of the gateway"),
        ("v1.e30", "not issued for this gateway"),
        ("v1." + "a" * TOKEN_CHARACTERS, "no token of the gateway"),
        ("", "no token of the gateway"),
    ],
    ids=["another gateway's", "expired", "another version", "unsigned", "too long", "none"],
)
def test_a_token_that_is_not_good_is_refused_by_name(token: str, words: str) -> None:
    with pytest.raises(BadToken, match=words):
        read(SECRET, token)


def test_the_trusted_sides_token_is_good_for_a_while() -> None:
    token = issue_trusted(SECRET, now=1_000.0)
    check_trusted(SECRET, token, now=1_299.0)
    with pytest.raises(BadToken, match="expired: compare the clocks"):
        check_trusted(SECRET, token, now=1_301.0)


@pytest.mark.parametrize(
    "token",
    [
        issue(SECRET, CLAIMS),
        issue_trusted(b"o" * 32),
        issue_trusted(SECRET).replace(".1", ".2", 1),
        SECRET.hex(),
        "",
        "trusted1.x.",
    ],
    ids=["a guest's", "another gateway's", "later", "the secret", "none", "unsigned"],
)
def test_no_other_token_is_the_trusted_sides(token: str) -> None:
    with pytest.raises(BadToken, match="trusted side"):
        check_trusted(SECRET, token)


def test_the_trusted_sides_token_makes_no_model_calls() -> None:
    for token in (issue_trusted(SECRET), issue_trusted(SECRET, "t")):
        with pytest.raises(BadToken):
            read(SECRET, token)


@given(texts, texts, st.sampled_from([SECRET, None]))
def test_a_tenants_secret_makes_tokens_of_that_tenant_alone(
    tenant: str, other: str, gateways: bytes | None
) -> None:
    secret = gateways or tenant_secret(SECRET, tenant)
    own = replace(CLAIMS, tenant=tenant)
    assert read(SECRET, issue(secret, own)) == own
    assert check_trusted(SECRET, issue_trusted(secret, tenant)) == tenant
    if secret == SECRET or other == tenant:
        return
    with pytest.raises(BadToken, match="not issued for this gateway"):
        read(SECRET, issue(secret, replace(CLAIMS, tenant=other)))
    for token in (issue_trusted(secret), issue_trusted(secret, other)):
        with pytest.raises(BadToken, match="trusted side"):
            check_trusted(SECRET, token)


def test_the_trusted_sides_token_of_all_is_told_from_that_of_a_tenant() -> None:
    assert check_trusted(SECRET, issue_trusted(SECRET)) is None
    token = issue_trusted(SECRET, "red")
    assert check_trusted(SECRET, token) == "red"
    changed = token.replace(token.split(".")[1], "Ymx1ZQ", 1)
    with pytest.raises(BadToken, match="trusted side"):
        check_trusted(SECRET, changed)
    late = issue_trusted(tenant_secret(SECRET, "red"), "red", now=1_000.0)
    with pytest.raises(BadToken, match="expired: compare the clocks"):
        check_trusted(SECRET, late, now=1_301.0)


def test_what_nobody_signed_is_refused_however_it_is_made() -> None:
    for claims in ("[" * 5_000, '{"tenant": 7}', "x", ""):
        body = f"v1.{base64.urlsafe_b64encode(claims.encode()).decode().rstrip('=')}"
        with pytest.raises(BadToken):
            read(SECRET, f"{body}.AAAA")
