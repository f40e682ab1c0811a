"""The paths of the sign-in itself, and who may use which."""

from typing import Final

from starlette.responses import PlainTextResponse, Response
from starlette.types import Receive, Scope

from orchestrator_tenancy.audit.events import AuditEvent
from orchestrator_tenancy.identities import Identity
from orchestrator_tenancy.sign_in import administration, attempts, tenant_choice
from orchestrator_tenancy.sign_in.api_tokens import ApiToken
from orchestrator_tenancy.sign_in.credentials import Credential, read_credential
from orchestrator_tenancy.sign_in.identification import Undecided
from orchestrator_tenancy.sign_in.pages import HEADERS, STYLE
from orchestrator_tenancy.sign_in.parts import Parts
from orchestrator_tenancy.sign_in.request_origins import foreign
from orchestrator_tenancy.sign_in.requests import BadRequest, headers_of, refusal, sent_to, wants_page

PATH: Final = "/sign-in"


async def answer(parts: Parts, scope: Scope, receive: Receive, path: str) -> Response:
    """Answer a request to the sign-in.

    Args:
        parts: Of the sign-in.
        scope: Of the request.
        receive: Its body.
        path: What comes after `/sign-in`; empty, or begins with a slash.

    Raises:
        AgentError: `state_unavailable`.
    """
    try:
        return await _open(parts, scope, path) or await _known(parts, scope, receive, path)
    except BadRequest as error:
        return refusal(str(error), 400)


async def _open(parts: Parts, scope: Scope, path: str) -> Response | None:
    """Answer what anybody may ask for; None for what else there may be."""
    if path not in ("", "/start", "/callback", "/style.css", "/ready"):
        return None
    if scope["method"] != "GET":
        return refusal("GET it", 405)
    match path:
        case "/start":
            return await attempts.start(parts, scope)
        case "/callback":
            return await attempts.callback(parts, scope)
        case "/style.css":
            return Response(
                STYLE, 200, {**HEADERS, "Cache-Control": "max-age=3600"}, "text/css; charset=utf-8"
            )
        case "/ready":
            await parts.stored(parts.stores.audit.head)
            return PlainTextResponse("ready", headers={"Cache-Control": "no-store"})
        case _:
            return tenant_choice.way_in(parts)


async def _known(parts: Parts, scope: Scope, receive: Receive, path: str) -> Response:
    """Answer who is known."""
    headers, method = headers_of(scope), scope["method"]
    credential = read_credential(headers, parts.names)
    known = None if credential is None else await parts.identification.find(credential)
    if credential is None or known is None:
        if wants_page(headers, method):
            return sent_to(f"{parts.settings.prefix}{PATH}")
        return refusal("sign in first", 401)
    if credential.kind == "session":
        why = foreign(headers, method=method, origin=parts.settings.origin)
        if why is not None:
            who = known.session.person.identifier if isinstance(known, Undecided) else known.subject
            tenant = None if isinstance(known, Undecided) else known.tenant
            await parts.note(
                AuditEvent(
                    actor=who,
                    action="request",
                    tenant=tenant,
                    target=f"{PATH}{path}",
                    allowed=False,
                    reason=why,
                )
            )
            return refusal(why, 403)
    match method, path.split("/")[1:]:
        case "GET", ["who"]:
            return tenant_choice.who(known)
        case (("GET" | "POST"), ["tenant"]):
            return await _choice(parts, scope, receive, credential)
        case "POST", ["out"]:
            return await _choice(parts, scope, receive, credential)
        case _, [("tokens" | "sessions") as what, *rest] if len(rest) <= 1:
            name = rest[0] if rest else ""
            if credential.kind == "token":
                return refusal(
                    "tokens and sessions are managed by people: else a token could outlive its day", 403
                )
            if not isinstance(known, Identity):
                return refusal("choose a tenant first", 403)
            if what == "tokens":
                return await administration.tokens(parts, scope, receive, known, name)
            return await administration.sessions(parts, scope, known, name)
        case _:
            return refusal("there is nothing", 404)


async def _choice(parts: Parts, scope: Scope, receive: Receive, credential: Credential) -> Response:
    owner = await parts.identification.owner(credential)
    if owner is None or isinstance(owner, ApiToken):
        return refusal("this is for people who signed in", 403)
    if scope["path"].endswith("/out"):
        return await tenant_choice.sign_out(parts, owner)
    if scope["method"] == "GET":
        return await tenant_choice.show_choice(parts, scope, owner)
    return await tenant_choice.choose(parts, scope, receive, owner)
