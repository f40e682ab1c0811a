"""Signing in: sending a browser to the provider, and taking it back."""

import hmac
import math
import secrets
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote

from starlette.responses import Response
from starlette.types import Scope

from orchestrator_tenancy.audit.events import AuditEvent
from orchestrator_tenancy.sign_in.credentials import read_cookies
from orchestrator_tenancy.sign_in.identification import choices_of
from orchestrator_tenancy.sign_in.pages import failure_page
from orchestrator_tenancy.sign_in.parts import LOG, Parts
from orchestrator_tenancy.sign_in.paths import safe_path
from orchestrator_tenancy.sign_in.people import Person, person_of
from orchestrator_tenancy.sign_in.provider import Attempt, new_attempt
from orchestrator_tenancy.sign_in.refusals import ProviderUnavailable, SignInRefused
from orchestrator_tenancy.sign_in.requests import headers_of, query_of, sent_to
from orchestrator_tenancy.sign_in.sealing import NotSealed
from orchestrator_tenancy.sign_in.throttles import client_address

_SLOTS: Final = "0123"
"""Sign-ins that one browser may have on their way, such as in several tabs; bounds its cookies, too."""

ATTEMPT_SECONDS: Final = 600
"""How long somebody may take at the provider."""

_RETRY_SECONDS: Final = 5.0


async def start(parts: Parts, scope: Scope) -> Response:
    """Send a browser to the provider."""
    if (refused := await _throttled(parts, scope, everybody=True)) is not None:
        return refused
    back = safe_path(query_of(scope).get("next", ""), parts.settings.prefix)
    attempt = new_attempt(secrets.choice(_SLOTS) + secrets.token_urlsafe(32))
    try:
        url = await parts.provider.authorization_url(attempt)
    except ProviderUnavailable as error:
        return _unavailable(parts, error, back)
    sealed = parts.attempts.seal(
        [attempt.state, attempt.nonce, attempt.verifier, back, parts.now() + ATTEMPT_SECONDS]
    )
    response = sent_to(url)
    name = parts.names.attempt(attempt.state[0])
    response.headers.append("Set-Cookie", parts.names.set(name, sealed, ATTEMPT_SECONDS))
    return response


async def callback(parts: Parts, scope: Scope) -> Response:
    """Take a browser back from the provider."""
    if (refused := await _throttled(parts, scope, everybody=False)) is not None:
        return refused
    answer = query_of(scope)
    cookies = read_cookies(headers_of(scope))
    slot = answer.get("state", "")[:1]
    slot = slot if slot in _SLOTS else _SLOTS[0]
    back = f"{parts.settings.prefix}/"
    try:
        attempt, back = _attempt(parts, cookies.get(parts.names.attempt(slot), ""), answer)
        response = await _signed_in(parts, attempt, answer, back, cookies.get(parts.names.session))
    except ProviderUnavailable as error:
        response = _unavailable(parts, error, back)
    except SignInRefused as error:
        await parts.note_stranger(_event(None, allowed=False, reason=str(error)))
        response = _refused(parts, str(error), back)
    response.headers.append("Set-Cookie", parts.names.set(parts.names.attempt(slot), ""))
    return response


def _attempt(parts: Parts, sealed: str, answer: Mapping[str, str]) -> tuple[Attempt, str]:
    """Return the sign-in that an answer is to, and where it goes on."""
    try:
        found: Any = parts.attempts.open(sealed)
        state, nonce, verifier, back, until = found
    except (NotSealed, TypeError, ValueError) as error:
        told = "this browser did not begin a sign-in, or blocks cookies, or has begun too many at once"
        raise SignInRefused(told) from error
    if not hmac.compare_digest(str(state).encode(), answer.get("state", "").encode()):
        raise SignInRefused("the answer is to another sign-in")
    if parts.now() > until:
        raise SignInRefused("it took more than ten minutes")
    return Attempt(state=state, nonce=nonce, verifier=verifier), safe_path(back, parts.settings.prefix)


async def _signed_in(
    parts: Parts, attempt: Attempt, answer: Mapping[str, str], back: str, before: str | None
) -> Response:
    settings = parts.settings
    claims = await parts.provider.claims(attempt, answer)
    try:
        person = person_of(claims, issuer=settings.provider.issuer, name=settings.name, rules=settings.claims)
    except ValueError as error:
        raise SignInRefused(str(error)) from error
    choices = choices_of(person, await parts.tenants.tenancy())
    if not choices and not person.operator:
        told = f"you are {person.name}, who is of no tenant here; ask whoever runs this platform"
        await parts.note(_event(person, allowed=False, reason="of no tenant"))
        return _refused(parts, told, back)
    tenant = next(iter(choices)) if len(choices) == 1 and not person.operator else None
    await parts.audit.write(_event(person, tenant=tenant, allowed=True))
    _, secret = await parts.stored(lambda: parts.stores.sessions.begin(person, tenant, instead_of=before))
    parts.identification.forget()
    chooses = tenant is None and not person.operator
    target = f"{settings.prefix}/sign-in/tenant?next={quote(back, safe='')}" if chooses else back
    response = sent_to(target)
    response.headers.append("Set-Cookie", parts.names.set(parts.names.session, secret))
    return response


def _event(
    person: Person | None, *, tenant: str | None = None, allowed: bool, reason: str = ""
) -> AuditEvent:
    return AuditEvent(
        actor="nobody" if person is None else person.identifier,
        action="sign-in",
        tenant=tenant,
        target="",
        allowed=allowed,
        reason=reason,
    )


async def _throttled(parts: Parts, scope: Scope, *, everybody: bool) -> Response | None:
    address = client_address(scope.get("client"), headers_of(scope), parts.settings.throttle.trusted_proxies)
    wait = parts.steps.take(address)
    if not wait and everybody:
        wait = parts.all_steps.take("")
    if not wait:
        return None
    await parts.note_throttled()
    return failure_page(
        "Too many sign-ins",
        f"Too many people try to sign in, or somebody tries too often. Wait {max(1, math.ceil(wait))} seconds.",
        again=f"{parts.settings.prefix}/sign-in",
        prefix=parts.settings.prefix,
        status=429,
        wait=wait,
    )


def _refused(parts: Parts, why: str, back: str) -> Response:
    return failure_page(
        "You are not signed in",
        f"{why[:1].upper()}{why[1:]}.",
        again=f"{parts.settings.prefix}/sign-in/start?next={quote(back, safe='')}",
        prefix=parts.settings.prefix,
        status=403,
    )


def _unavailable(parts: Parts, error: ProviderUnavailable, back: str) -> Response:
    LOG.warning("nobody can sign in: %s", error)
    return failure_page(
        "Nobody can sign in at the moment",
        "The sign-in provider does not answer as it should. Whoever is signed in can go on working.",
        again=f"{parts.settings.prefix}/sign-in/start?next={quote(back, safe='')}",
        prefix=parts.settings.prefix,
        status=503,
        wait=_RETRY_SECONDS,
    )
