"""Tokens that guests authenticate with: bound to one try of one execution of one tenant, and short-lived.

`v1.CLAIMS.SIGNATURE`, both base64url; the signature is HMAC-SHA256 over the first two parts. The gateway keeps no list
of tokens: whoever shares its secret can issue them, and whoever has a tenant's secret those of that tenant.
"""

import base64
import binascii
import hashlib
import hmac
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final

from orchestrator_runtimes.codec import InvalidMessage, decode, encode
from orchestrator_runtimes.json_values import NotJson, dump, parse

TOKEN_CHARACTERS: Final = 8_192
"""Longest token that is read."""

_REMEMBERED: Final = 1_000
"""Tokens whose signatures are not computed again: an execution sends its own with each call."""

_VERSION: Final = "v1"
_TRUSTED: Final = "trusted1"
_TRUSTED_OF_TENANT: Final = "trusted2"
_TRUSTED_SECONDS: Final = 300.0
"""How long a token of the trusted side is good: it is used at once, by machines whose clocks may differ."""


class BadToken(Exception):
    """A token is refused; the text says why, without saying anything of the secret."""


@dataclass(frozen=True, kw_only=True)
class ExecutionBudget:
    """What one execution may spend in all its tries; None bounds nothing.

    Attributes:
        tokens: Input and output together.
        cost: In nano-dollars (10⁻⁹ USD).
        calls: Model calls that an upstream answers.
        seconds: For which upstreams are at work for it; calls at the same time count each.
    """

    tokens: int | None = None
    cost: int | None = None
    calls: int | None = None
    seconds: float | None = None


@dataclass(frozen=True, kw_only=True)
class Claims:
    """What a token allows: the model calls of one execution.

    Attributes:
        tenant: Whose it is.
        execution: Id of the execution, the same in each try.
        attempt: Name of this try: equal calls within one try are different calls.
        agent: Digest of the agent; another agent is never served this one's answers.
        until: Unix time in seconds at which the execution has reached its limit.
        expires: Unix time in seconds after which it is worth nothing.
        name: What people call the agent, such as its asset's key; empty where it has no name.
        location: The code location that it belongs to; empty where it is not known.
        budget: What the execution may spend.
        known: Digests of the volatile-looking words of the inputs (`fingerprints.digest_of`), which are not volatile.
        traceparent: W3C trace context that the execution belongs to; None when it belongs to none.
        run: Id of the Dagster run; None outside of any.
        bundle: `publisher/agent:version` of the published agent that it runs; empty for an agent of one's own.
    """

    tenant: str
    execution: str
    attempt: str
    agent: str
    until: float
    expires: float
    name: str = ""
    location: str = ""
    budget: ExecutionBudget = field(default_factory=ExecutionBudget)
    known: tuple[str, ...] = ()
    traceparent: str | None = None
    run: str | None = None
    bundle: str = ""


def tenant_secret(secret: bytes, tenant: str) -> bytes:
    """Return the secret of a tenant, which its runs are given in place of the gateway's.

    It is text, so that it can stand wherever a gateway's secret stands, and tells nothing of the gateway's.
    """
    return hmac.new(secret, f"tenant\0{tenant}".encode(), hashlib.sha256).hexdigest().encode()


def issue(secret: bytes, claims: Claims) -> str:
    """Return a token with these claims, by the gateway's secret or that of the tenant of the claims."""
    body = f"{_VERSION}.{_encoded(dump(encode(claims)))}"
    return f"{body}.{_encoded(_signature(secret, body))}"


def read(secret: bytes, token: str, *, now: float | None = None) -> Claims:
    """Return the claims of a token.

    Args:
        secret: The gateway's, with which it must be signed, or with that of its tenant.
        token: As the guest sent it.
        now: Unix time in seconds; None is the present.

    Raises:
        BadToken: It is none, of another secret, or too old.
    """
    if len(token) > TOKEN_CHARACTERS:
        raise BadToken("this is no token of the gateway")
    claims = _signed(secret, token)
    if claims.expires < (time.time() if now is None else now):
        raise BadToken("the token has expired: the execution is over")
    return claims


@lru_cache(maxsize=_REMEMBERED)
def _signed(secret: bytes, token: str) -> Claims:
    """Return what a token claims, whatever the time; of one that is refused nothing is remembered."""
    body, _, signature = token.rpartition(".")
    version, _, claims = body.partition(".")
    if version != _VERSION or not signature:
        raise BadToken("this is no token of the gateway")
    given = _decoded(signature)
    if hmac.compare_digest(given, _signature(secret, body)):
        return decode(Claims, parse(_decoded(claims)))
    try:
        claimed = decode(Claims, parse(_decoded(claims)))
    except (NotJson, InvalidMessage) as error:
        raise BadToken("the token was not issued for this gateway") from error
    if not hmac.compare_digest(given, _signature(tenant_secret(secret, claimed.tenant), body)):
        raise BadToken("the token was not issued for this gateway")
    return claimed


def issue_trusted(secret: bytes, tenant: str | None = None, *, now: float | None = None) -> str:
    """Return a token of the trusted side, with which it administers a gateway; the secret itself does not travel.

    Args:
        secret: The gateway's; with a tenant, its own will do.
        tenant: Whose things it is about; None means those of all.
        now: Unix time in seconds; None is the present.
    """
    expires = int((time.time() if now is None else now) + _TRUSTED_SECONDS)
    whose = "" if tenant is None else f"{_encoded(tenant.encode())}."
    body = f"{_TRUSTED if tenant is None else _TRUSTED_OF_TENANT}.{whose}{expires}"
    return f"{body}.{_encoded(_signature(secret, body))}"


def check_trusted(secret: bytes, token: str, *, now: float | None = None) -> str | None:
    """Return the tenant that a token of the trusted side is for; None where it is for all.

    Raises:
        BadToken: It is none, of another secret, or too old.
    """
    body, _, signature = token[:TOKEN_CHARACTERS].rpartition(".")
    match body.split("."):
        case [kind, expires] if kind == _TRUSTED:
            tenant, keys = None, [secret]
        case [kind, whose, expires] if kind == _TRUSTED_OF_TENANT:
            tenant = _decoded(whose).decode(errors="replace")
            keys = [secret, tenant_secret(secret, tenant)]
        case _:
            raise BadToken("only the trusted side may ask for this")
    given = _decoded(signature)
    if not any(hmac.compare_digest(given, _signature(key, body)) for key in keys):
        raise BadToken("only the trusted side may ask for this")
    if int(expires) < (time.time() if now is None else now):
        raise BadToken(
            "only the trusted side may ask for this, and its token has expired: compare the clocks"
        )
    return tenant


def bearer(headers: Mapping[str, str]) -> str:
    """Return the bearer token of a request's headers; nothing where it has none."""
    kind, _, token = headers.get("authorization", "").partition(" ")
    return token.strip() if kind.lower() == "bearer" else ""


def _signature(secret: bytes, body: str) -> bytes:
    return hmac.new(secret, body.encode(), hashlib.sha256).digest()


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError) as error:
        raise BadToken("this is no token of the gateway") from error
