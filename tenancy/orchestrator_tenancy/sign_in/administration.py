"""What programs and the tenant's administrators do with tokens and sessions: JSON over HTTP."""

from collections.abc import Mapping
from typing import Any

from starlette.responses import Response
from starlette.types import Receive, Scope

from orchestrator_runtimes.errors import AgentError, ErrorCode
from orchestrator_tenancy.audit.events import AuditEvent
from orchestrator_tenancy.identities import Identity, Role
from orchestrator_tenancy.sign_in.listings import session_row, token_row
from orchestrator_tenancy.sign_in.parts import Parts
from orchestrator_tenancy.sign_in.requests import BadRequest, headers_of, object_of, refusal, told


async def tokens(parts: Parts, scope: Scope, receive: Receive, identity: Identity, name: str) -> Response:
    """Answer a request about the tokens of a tenant: list, create, revoke.

    Args:
        parts: Of the sign-in.
        scope: Of the request.
        receive: Its body.
        identity: Who asks; an administrator of the tenant, or an operator who chose it.
        name: Of the token that it is about; empty for all.
    """
    tenant = identity.tenant
    if tenant is None:
        return refusal("choose a tenant first: tokens are of one", 409)
    if not identity.role.includes(Role.TENANT_ADMIN):
        await _note(parts, identity, f"token.{scope['method'].lower()}", name, allowed=False, reason="role")
        return refusal(
            f"tokens are for the role {Role.TENANT_ADMIN.value}, and yours is {identity.role.value}", 403
        )
    try:
        match scope["method"], name:
            case "GET", "":
                found = await parts.stored(lambda: parts.stores.tokens.list(tenant))
                return told([token_row(token) for token in found])
            case "POST", "":
                return await _create(parts, await object_of(receive, headers_of(scope)), identity, tenant)
            case "DELETE", _ if name:
                await _note(parts, identity, "token.revoke", name, allowed=True)
                token = await parts.stored(lambda: parts.stores.tokens.revoke(name, tenant))
                parts.identification.forget()
                return told(token_row(token))
            case _:
                return refusal("GET and POST of all tokens, DELETE of one", 405)
    except AgentError as error:
        if error.code is not ErrorCode.INVALID_INPUT:
            raise
        return refusal(error.message, 400)


async def sessions(parts: Parts, scope: Scope, identity: Identity, name: str) -> Response:
    """Answer a request of somebody about their own sessions: list, revoke; see `tokens`."""
    own = await parts.stored(lambda: parts.stores.sessions.list(identity.subject))
    match scope["method"], name:
        case "GET", "":
            return told([session_row(session) for session in own])
        case "DELETE", _ if any(session.id == name for session in own):
            await _note(parts, identity, "session.revoke", name, allowed=True)
            await parts.stored(lambda: parts.stores.sessions.revoke(name))
            parts.identification.forget()
            return told({"session": name})
        case "DELETE", _ if name:
            return refusal("you have no such session", 404)
        case _:
            return refusal("GET of all sessions, DELETE of one", 405)


async def _create(parts: Parts, asked: Mapping[str, Any], identity: Identity, tenant: str) -> Response:
    match asked:
        case {"name": str(name), "role": str(role), "days": int() | float() as days, **rest} if not rest:
            pass
        case _:
            raise BadRequest('send {"name": "…", "role": "launcher", "days": 30} and nothing else')
    if role not in (
        each.value for each in Role if identity.role.includes(each) and each is not Role.OPERATOR
    ):
        raise BadRequest(f"there is no role {role!r:.40} that you could give")
    await _note(parts, identity, "token.create", name, allowed=True, reason=f"{role}, {days:g} days")
    token, text = await parts.stored(
        lambda: parts.stores.tokens.create(name=name, tenant=tenant, role=Role(role), days=float(days))
    )
    return told({**token_row(token), "text": text}, 201)


async def _note(
    parts: Parts, identity: Identity, action: str, target: str, *, allowed: bool, reason: str = ""
) -> None:
    event = AuditEvent(
        actor=identity.subject,
        action=action,
        tenant=identity.tenant,
        target=target,
        allowed=allowed,
        reason=reason,
    )
    await (parts.audit.write(event) if allowed else parts.note(event))
