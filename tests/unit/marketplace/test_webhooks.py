"""Webhooks: signed as the standard's vector has it, verified by who has the secret, and sent to public addresses."""

import base64
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator_marketplace.marketplaces import Event
from orchestrator_marketplace.webhook_deliveries import pause_seconds
from orchestrator_marketplace.webhook_signatures import (
    TOLERANCE,
    WebhookRefused,
    event_message,
    new_secret,
    received_event,
    signed_headers,
    verify,
)
from orchestrator_marketplace.webhook_targets import TargetRefused, check_target, is_public

# https://github.com/standard-webhooks/standard-webhooks/blob/main/libraries/python/tests/test_webhooks.py
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
MESSAGE = "msg_p5jXN8AQM9LWM0D4loKWxJek"
BODY = b'{"test": 2432232314}'
AT = datetime.fromtimestamp(1614265330, UTC)
SIGNATURE = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
EVENT = Event(cursor=7, at="2026-06-01T00:00:00+00:00", kind="approve", publisher="acme", agent="reviewer")


def test_the_standards_own_vector_is_signed_and_verified() -> None:
    headers = signed_headers(SECRET, MESSAGE, AT, BODY)
    assert headers == {
        "webhook-id": MESSAGE,
        "webhook-timestamp": "1614265330",
        "webhook-signature": SIGNATURE,
    }
    verify(SECRET, {**headers, "webhook-signature": f"v1,other v1a,x {SIGNATURE}"}, BODY, AT)


@given(st.sampled_from(["webhook-id", "webhook-timestamp", "webhook-signature"]), st.text(max_size=40))
def test_what_somebody_else_wrote_is_refused(name: str, text: str) -> None:
    headers = signed_headers(SECRET, MESSAGE, AT, BODY)
    if text in (headers[name], headers[name].removeprefix("+")):
        return
    if name == "webhook-signature" and SIGNATURE in text.split():
        return
    with pytest.raises(WebhookRefused):
        verify(SECRET, {**headers, name: text}, BODY, AT)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"body": BODY + b" "}, "not of this secret"),
        ({"secret": new_secret()}, "not of this secret"),
        ({"secret": "whsec_?"}, "must be whsec_ and base64"),
        ({"now": AT + TOLERANCE + timedelta(seconds=1)}, "of another time"),
        ({"now": AT - TOLERANCE - timedelta(seconds=1)}, "of another time"),
        ({"headers": {}}, "is no time in seconds"),
        ({"body": b"x" * 70_000}, "is longer than"),
    ],
)
def test_messages_that_are_not_taken(changed: dict[str, object], said: str) -> None:
    whole: dict[str, object] = {"secret": SECRET, "headers": signed_headers(SECRET, MESSAGE, AT, BODY)}
    with pytest.raises(WebhookRefused, match=said):
        verify(**{**whole, "body": BODY, "now": AT, **changed})  # type: ignore[arg-type]  # each is of its type


def test_an_event_is_received_as_it_was() -> None:
    secret = new_secret()
    assert len(base64.b64decode(secret.removeprefix("whsec_"))) == 32 and secret != new_secret()
    body = event_message(EVENT)
    assert received_event(secret, signed_headers(secret, "s-7", AT, body), body, AT) == EVENT
    for other in (b"[]", b"{", b'{"data": {"cursor": 1}}', b'{"data": 1}'):
        with pytest.raises(WebhookRefused, match="tells of no event"):
            received_event(secret, signed_headers(secret, "s-7", AT, other), other, AT)


@pytest.mark.parametrize(
    "url",
    [
        "http://hooks.example/",
        "ftp://hooks.example/",
        "https://",
        "https:///path",
        "hooks.example",
        "https://user@hooks.example/",
        "https://user:word@hooks.example/",
        "https://hooks.example/#part",
        "https://hooks.example:x/",
        "https://hooks.example:99999/",
        "https://localhost/",
        "https://127.0.0.1/",
        "https://10.1.2.3/",
        "https://169.254.169.254/latest",
        "https://100.64.0.1/",
        "https://0.0.0.0/",
        "https://224.0.0.1/",
        "https://[::1]/",
        "https://[fe80::1%25eth0]/",
        "https://[fd00::1]/",
        "https://[::ffff:10.0.0.1]/",
        "https://[64:ff9b::7f00:1]/",
        "https://[2002:7f00:1::]/",
        "https://[::",
        "https://hooks.example/\n",
        "https://hooks.example/ü",
        f"https://hooks.example/{'a' * 500}",
    ],
)
def test_addresses_to_which_nothing_is_sent(url: str) -> None:
    with pytest.raises(TargetRefused):
        check_target(url, ["hooks.internal"])


@pytest.mark.parametrize(
    "url",
    [
        "https://hooks.example/a?b",
        "https://8.8.8.8:8443/",
        "https://[2606:4700::1]/",
        "http://hooks.internal",
    ],
)
def test_addresses_to_which_something_is_sent(url: str) -> None:
    assert check_target(url, ["hooks.internal"]).hostname


@given(st.ip_addresses(v=4))
def test_an_address_is_as_public_as_what_it_wraps(address: IPv4Address) -> None:
    mapped = IPv6Address(0xFFFF << 32 | int(address))
    assert is_public(str(mapped)) == is_public(str(address))
    assert not is_public(str(address)) or not (address.is_private or address.is_link_local)
    for network in ("64:ff9b::", "2002::"):
        assert not is_public(str(IPv6Address(int(IPv6Address(network)) + int(address))))


def test_pauses_grow_to_an_hour() -> None:
    assert 2.5 <= pause_seconds(1) <= 5 and 5 <= pause_seconds(2) <= 10
    assert all(1_800 <= pause_seconds(failures) <= 3_600 for failures in (11, 20, 5_000))
