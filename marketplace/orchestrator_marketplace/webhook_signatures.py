"""Webhooks as Standard Webhooks has them: who sends signs, who receives verifies.

https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

import base64
import binascii
import hashlib
import hmac
import secrets
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final

from orchestrator_marketplace.marketplaces import Event
from orchestrator_runtimes.codec import InvalidMessage, decode, encode
from orchestrator_runtimes.errors import AgentError, ErrorCode
from orchestrator_runtimes.json_values import NotJson, dump, parse

TOLERANCE: Final = timedelta(minutes=5)
"""How far a message's time may be from the receiver's clock: somebody may have kept it."""
MESSAGE_BYTES: Final = 64 * 2**10

_PREFIX: Final = "whsec_"
_SECRET_BYTES: Final = 32


class WebhookRefused(AgentError):
    """A message is not taken; it says why."""

    def __init__(self, message: str) -> None:
        """Refuse it."""
        super().__init__(ErrorCode.INVALID_INPUT, message)


def new_secret() -> str:
    """Return a secret that nobody else has."""
    return _PREFIX + base64.b64encode(secrets.token_bytes(_SECRET_BYTES)).decode()


def event_message(event: Event) -> bytes:
    """Return the body of the message that tells of an event."""
    return dump({"type": event.kind, "timestamp": event.at, "data": encode(event)})


def signed_headers(secret: str, message: str, at: datetime, body: bytes) -> dict[str, str]:
    """Return the headers of a message.

    Args:
        secret: As `new_secret` made it.
        message: Its id, the same at each try.
        at: When it is sent, with its zone.
        body: Its bytes.
    """
    seconds = str(int(at.timestamp()))
    return {
        "webhook-id": message,
        "webhook-timestamp": seconds,
        "webhook-signature": _signature(secret, message, seconds, body),
    }


def received_event(secret: str, headers: Mapping[str, str], body: bytes, now: datetime) -> Event:
    """Return the event that a message tells of; it may come again, with the cursor that it had.

    Args:
        secret: That of the subscription.
        headers: Of the request, by their names in lower case.
        body: Of the request, as it came.
        now: The moment, with its zone.

    Raises:
        WebhookRefused: Nobody who has the secret sent it now, or it is none of these messages.
    """
    verify(secret, headers, body, now)
    try:
        told = parse(body)
        if not isinstance(told, Mapping):
            raise InvalidMessage("expected an object")
        return decode(Event, told.get("data"), "data")
    except (NotJson, InvalidMessage) as error:
        raise WebhookRefused(f"the message tells of no event: {error}") from error


def verify(secret: str, headers: Mapping[str, str], body: bytes, now: datetime) -> None:
    """Refuse a message that nobody who has a secret sent now; arguments as of `received_event`.

    Raises:
        WebhookRefused: With what is wrong.
    """
    if len(body) > MESSAGE_BYTES:
        raise WebhookRefused(f"the message is longer than {MESSAGE_BYTES} bytes")
    message, seconds, signatures = (
        headers.get(f"webhook-{name}", "") for name in ("id", "timestamp", "signature")
    )
    if not seconds.isascii() or not seconds.isdigit() or len(seconds) > 12:
        raise WebhookRefused("webhook-timestamp: is no time in seconds")
    if abs(now.timestamp() - int(seconds)) > TOLERANCE.total_seconds():
        raise WebhookRefused(
            "webhook-timestamp: the message is of another time: set the clock, or somebody kept it"
        )
    wanted = _signature(secret, message, seconds, body).encode()
    if not any(hmac.compare_digest(one.encode(), wanted) for one in signatures.split()[:10]):
        raise WebhookRefused("webhook-signature: is not of this secret")


def _signature(secret: str, message: str, seconds: str, body: bytes) -> str:
    try:
        key = base64.b64decode(secret.removeprefix(_PREFIX), validate=True)
    except binascii.Error as error:
        raise WebhookRefused(f"the secret must be {_PREFIX} and base64") from error
    digest = hmac.new(key, f"{message}.{seconds}.".encode() + body, hashlib.sha256).digest()
    return f"v1,{base64.b64encode(digest).decode()}"
