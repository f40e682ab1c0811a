"""The sign-in around an application: it serves who is known, and tells it who that is."""

import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final
from urllib.parse import quote

from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from orchestrator_resources.state_databases import StateDatabase
from orchestrator_runtimes.errors import AgentError
from orchestrator_tenancy.audit.events import AuditEvent
from orchestrator_tenancy.audit.recording import RECORDER_KEY, Recorder
from orchestrator_tenancy.identities import SCOPE_KEY, Identity
from orchestrator_tenancy.sign_in import routes
from orchestrator_tenancy.sign_in.credentials import Credential, Headers, read_credential, without_credentials
from orchestrator_tenancy.sign_in.identification import Known
from orchestrator_tenancy.sign_in.parts import LOG, Parts, open_parts
from orchestrator_tenancy.sign_in.request_origins import foreign
from orchestrator_tenancy.sign_in.requests import headers_of, refusal, sent_to, wants_page
from orchestrator_tenancy.sign_in.settings import load
from orchestrator_tenancy.sign_in.throttles import client_address
from orchestrator_tenancy.sign_in.watched_sockets import serve_watched
from orchestrator_tenancy.tenants import TenantDirectory

BLIND_SECONDS: Final = 30.0
"""For how long a websocket or an answer goes on while nobody can tell whether it may."""

_POLICY_VIOLATION: Final = 1008
_RETRY_SECONDS: Final = 5.0


class _Ended(Exception):
    """Whoever waits for an answer may not have the rest of it."""


class SignIn:
    """An ASGI application that lets only those through to another one who signed in, or have a token.

    The other one finds an `Identity` in the scope, and a `Recorder` for what it decides; it sees no
    credentials. Its `/sign-in` and what is below are the sign-in's own.

    Args:
        app: Serves requests and websockets of identities only.
        parts: What the sign-in is made of.
    """

    def __init__(self, app: ASGIApp, parts: Parts) -> None:
        self._app, self.parts = app, parts
        self._own = f"{parts.settings.prefix}{routes.PATH}"
        self._now: Callable[[], float] = time.monotonic

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request or websocket."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        scope = {key: value for key, value in scope.items() if key not in (SCOPE_KEY, RECORDER_KEY)}
        try:
            admitted = await self._admitted(scope, receive)
        except AgentError as error:
            LOG.error("sign-in: %s%s", error.message, f" ({error.cause})" if error.cause else "")
            admitted = refusal("who you are cannot be found out at the moment", 503, _RETRY_SECONDS)
        if not isinstance(admitted, Response):
            await (self._request if scope["type"] == "http" else self._socket)(
                scope, receive, send, *admitted
            )
        elif scope["type"] == "http":
            await admitted(scope, receive, send)
        else:
            await send({"type": "websocket.close", "code": _POLICY_VIOLATION, "reason": ""})

    async def _admitted(self, scope: Scope, receive: Receive) -> Response | tuple[Credential, Identity]:
        """Return who may use the application, and make the scope ready for it; else the answer."""
        path = scope["path"]
        if path == self._own or path.startswith(f"{self._own}/"):
            if scope["type"] == "websocket":
                return refusal("there is nothing", 404)
            return await routes.answer(self.parts, scope, receive, path.removeprefix(self._own))
        headers = headers_of(scope)
        credential = read_credential(headers, self.parts.names)
        found = await self._found(scope, headers, credential)
        if isinstance(found, Response):
            return found
        if credential is None or not isinstance(found, Identity):
            return self._elsewhere(scope, headers, known=found is not None)
        if credential.kind == "session":
            method = scope["method"] if scope["type"] == "http" else None
            why = foreign(headers, method=method, origin=self.parts.settings.origin)
            if why is not None:
                await self._note(found, scope, why)
                return refusal(why, 403)
        scope[SCOPE_KEY] = found
        scope[RECORDER_KEY] = Recorder(self.parts.audit, found)
        scope["headers"] = without_credentials(headers, self.parts.names)
        return credential, found

    async def _found(
        self, scope: Scope, headers: Headers, credential: Credential | None
    ) -> Known | Response | None:
        """Return who sends a request; the answer where it is not even looked for, None for nobody."""
        if credential is None:
            return None
        parts = self.parts
        address = client_address(scope.get("client"), headers, parts.settings.throttle.trusted_proxies)
        if not parts.identification.remembers(credential) and (wait := parts.refused.wait(address)):
            await parts.note_throttled()
            return refusal("too many requests with credentials that are none", 429, wait)
        found = await parts.identification.find(credential)
        if found is None and parts.identification.refuse(credential):
            parts.refused.take(address)
            if credential.kind == "token":
                await parts.note_stranger(
                    AuditEvent(
                        actor="nobody",
                        action="token",
                        tenant=None,
                        target=scope["path"],
                        allowed=False,
                        reason="unknown, expired or revoked",
                    )
                )
        return found

    def _elsewhere(self, scope: Scope, headers: Headers, *, known: bool) -> Response:
        """Return the answer to who is not known, or is of no tenant yet: to sign in, or to choose one."""
        page, why, status = ("tenant", "choose a tenant first", 403) if known else ("start", "sign in", 401)
        if scope["type"] == "http" and wants_page(headers, scope["method"]):
            query = bytes(scope.get("query_string", b"")).decode("latin-1")
            back = quote(scope["path"], safe="/") + (f"?{query}" if query else "")
            return sent_to(f"{self._own}/{page}?next={quote(back, safe='')}")
        return refusal(f"{why} at {self.parts.settings.url}/sign-in, or send an API token", status)

    async def _request(
        self, scope: Scope, receive: Receive, send: Send, credential: Credential, identity: Identity
    ) -> None:
        may_go_on = self._watch(credential, identity)
        checked = self._now()

        async def sent(message: Message) -> None:
            nonlocal checked
            if message["type"] == "http.response.start" and message["status"] == 403:
                await self._note(identity, scope, "refused by the application")
            if self._now() - checked > self.parts.settings.sessions.recheck_seconds:
                if not await may_go_on():
                    raise _Ended
                checked = self._now()
            await send(message)

        try:
            await self._app(scope, receive, sent)
        except _Ended:
            LOG.info("an answer was cut off: %s may not have it any more", identity.subject)

    async def _socket(
        self, scope: Scope, receive: Receive, send: Send, credential: Credential, identity: Identity
    ) -> None:
        seconds = self.parts.settings.sessions.recheck_seconds
        may_go_on = self._watch(credential, identity)
        await serve_watched(self._app, scope, receive, send, may_go_on=may_go_on, seconds=seconds)

    def _watch(self, credential: Credential, identity: Identity) -> Callable[[], Awaitable[bool]]:
        """Return what tells whether somebody may still do what they might before, in the same tenant."""
        seen = self._now()

        async def may_go_on() -> bool:
            nonlocal seen
            try:
                still = await self.parts.identification.find(credential, use=False) == identity
            except AgentError:
                return self._now() - seen < BLIND_SECONDS
            seen = self._now()
            return still

        return may_go_on

    async def _note(self, identity: Identity, scope: Scope, why: str) -> None:
        await self.parts.note(
            AuditEvent(
                actor=identity.subject,
                action="request",
                tenant=identity.tenant,
                target=f"{scope.get('method', 'websocket')} {scope['path']}",
                allowed=False,
                reason=why,
            )
        )


def sign_in(app: ASGIApp, file: Path, directory: TenantDirectory, database: StateDatabase) -> SignIn:
    """Put a sign-in around an application.

    Args:
        app: See `SignIn`.
        file: The settings.
        directory: The tenants.
        database: Of the control plane: `control_database(stores.FILE)`; closed by who opened it.

    Raises:
        BadConfiguration: The file, or a secret or file that it names, cannot be used.
        AgentError: `state_unavailable` when the database does not answer.
    """
    return SignIn(app, open_parts(load(file), file.parent, directory, database))
