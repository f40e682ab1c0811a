"""Pages for who is signed in: choosing a tenant, signing out, and who they are."""

from typing import Final

from starlette.responses import Response
from starlette.types import Receive, Scope

from orchestrator_tenancy.audit.events import AuditEvent
from orchestrator_tenancy.identities import Identity
from orchestrator_tenancy.sign_in.identification import Undecided, choices_of
from orchestrator_tenancy.sign_in.pages import page, sign_in_page, signed_out_page, tenants_page
from orchestrator_tenancy.sign_in.parts import Parts
from orchestrator_tenancy.sign_in.paths import safe_path
from orchestrator_tenancy.sign_in.requests import form_of, headers_of, query_of, refusal, sent_to, told
from orchestrator_tenancy.sign_in.sessions import Session

_LONGEST_TENANT: Final = 30


def way_in(parts: Parts) -> Response:
    """Return the page with the way in."""
    prefix = parts.settings.prefix
    return sign_in_page(f"{prefix}/sign-in/start", prefix=prefix)


async def show_choice(parts: Parts, scope: Scope, session: Session) -> Response:
    """Return the page where somebody chooses a tenant."""
    prefix = parts.settings.prefix
    person = session.person
    choices = choices_of(person, await parts.tenants.tenancy())
    if not choices and not person.operator:
        return page(
            "You are of no tenant", "<p>Ask whoever runs this platform.</p>", prefix=prefix, status=403
        )
    return tenants_page(
        person.name,
        choices,
        now=session.tenant,
        back=safe_path(query_of(scope).get("next", ""), prefix),
        prefix=prefix,
        everything=person.operator,
    )


async def choose(parts: Parts, scope: Scope, receive: Receive, session: Session) -> Response:
    """Go on as of another tenant; open websockets of the one before end."""
    form = await form_of(receive, headers_of(scope))
    wanted = form.get("tenant", "")[: _LONGEST_TENANT + 1]
    person = session.person
    choices = choices_of(person, await parts.tenants.tenancy())
    allowed = wanted in choices or (not wanted and person.operator)
    event = AuditEvent(
        actor=person.identifier, action="tenant.choose", tenant=wanted or None, target="", allowed=allowed
    )
    if not allowed:
        await parts.note(event)
        return refusal(f"you are not of a tenant {wanted!r}", 403)
    await parts.audit.write(event)
    await parts.stored(lambda: parts.stores.sessions.choose(session.id, wanted or None))
    parts.identification.forget()
    return sent_to(safe_path(form.get("next", ""), parts.settings.prefix))


async def sign_out(parts: Parts, session: Session) -> Response:
    """End a session here, and offer to end that of the provider."""
    prefix, url = parts.settings.prefix, parts.settings.url
    await parts.stored(lambda: parts.stores.sessions.revoke(session.id))
    parts.identification.forget()
    await parts.note(
        AuditEvent(
            actor=session.person.identifier, action="sign-out", tenant=session.tenant, target="", allowed=True
        )
    )
    elsewhere = await parts.provider.sign_out_url(f"{url}/sign-in")
    response = signed_out_page(f"{prefix}/sign-in/start", elsewhere, prefix=prefix)
    response.headers.append("Set-Cookie", parts.names.set(parts.names.session, ""))
    return response


def who(known: Identity | Undecided) -> Response:
    """Return who somebody is, as JSON."""
    if isinstance(known, Undecided):
        return told({"subject": known.session.person.identifier, "role": None, "tenant": None})
    return told(
        {
            "subject": known.subject,
            "name": known.name,
            "role": known.role.value,
            "tenant": known.tenant,
            "session": known.session,
        }
    )
