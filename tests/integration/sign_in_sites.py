"""A small application with the sign-in around it, served as any is, and a browser that visits it."""

import contextlib
import json
import re
import secrets
import socket
import threading
import time
from collections.abc import Generator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final
from urllib.parse import urljoin

import httpx
import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send

from orchestrator_tenancy.audit.events import AuditRecord, verify
from orchestrator_tenancy.audit.recording import RECORDER_KEY
from orchestrator_tenancy.identities import SCOPE_KEY, Identity
from orchestrator_tenancy.sign_in.wrapper import SignIn, sign_in
from tests.integration.openid_providers import CLIENT_ID, CLIENT_SECRET
from tests.integration.state_places import opened
from tests.integration.tenant_directories import Directory

SECRET: Final = secrets.token_hex(32)

TENANTS: Final[dict[str, Any]] = {
    "organisations": {"acme": {"title": "Acme"}},
    "plans": {"free": {}},
    "tenants": {
        "red": {"organisation": "acme", "plan": "free"},
        "blue": {
            "organisation": "acme",
            "plan": "free",
            "members": {
                "ada@acme.example": {"role": "tenant-admin"},
                "bob@acme.example": {"role": "viewer"},
            },
        },
        "green": {"organisation": "acme", "plan": "free"},
    },
}

CLAIMS: Final = [
    {"claim": "groups", "value": "/acme/(?P<tenant>[a-z]+)/(?P<role>[a-z-]+)"},
    {"claim": "groups", "value": "platform-operators", "role": "operator"},
]


async def application(scope: Scope, receive: Receive, send: Send) -> None:
    """Say who asks and which headers came along; a websocket answers what it is told; /refuse refuses."""
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            await send({"type": f"{message['type']}.complete"})
            if message["type"] == "lifespan.shutdown":
                return
    identity = scope.get(SCOPE_KEY)
    assert isinstance(identity, Identity), "the sign-in lets nobody through without"
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        while (message := await receive())["type"] == "websocket.receive":
            await send({"type": "websocket.send", "text": f"{identity.tenant}: {message.get('text')}"})
        return
    if scope["path"].endswith("/launch"):
        await scope[RECORDER_KEY].record("run.launch", target="run 1", allowed=True)
    headers = {name.decode(): value.decode("latin-1") for name, value in scope["headers"]}
    body = json.dumps({"identity": asdict(identity), "headers": headers, "path": scope["path"]}).encode()
    status = 403 if scope["path"].endswith("/refuse") else 200
    await send(
        {"type": "http.response.start", "status": status, "headers": [(b"content-type", b"application/json")]}
    )
    if scope["path"].endswith("/slow"):
        for _ in range(200):
            await send({"type": "http.response.body", "body": b"x" * 100, "more_body": True})
            import asyncio

            await asyncio.sleep(0.1)
    await send({"type": "http.response.body", "body": body})


class Site:
    """The application behind its sign-in, at an address of this machine.

    Args:
        folder: Gets the settings.
        place: Where its state is kept: a path, or the URL of a PostgreSQL database.
        app: What is behind the sign-in.
        directory: Of tenants; None has some of its own.
    """

    def __init__(
        self, folder: Path, place: str, app: ASGIApp = application, directory: Directory | None = None
    ) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port: Final[int] = free.getsockname()[1]
        self.url: Final = f"http://127.0.0.1:{self.port}"
        self.redirect_uri: Final = f"{self.url}/sign-in/callback"
        self.file: Final = folder / "sign-in.yaml"
        self.directory: Final = directory or Directory(TENANTS)
        self.place = place
        self.app = app
        self._folder = folder

    def configure(self, issuer: str, **sections: Any) -> None:
        """Write the settings; sections take the place of what they are without, or add to the provider's."""
        for name, text in (("secret", SECRET), ("client", CLIENT_SECRET)):
            (self._folder / name).write_text(text)
        provider = {"issuer": issuer, "client_id": CLIENT_ID, "client_secret": {"file": "client"}}
        whole = {
            "url": self.url,
            "secret": {"file": "secret"},
            "claims": CLAIMS,
            "sessions": {"recheck_seconds": 0.2},
            **sections,
            "provider": {**provider, **sections.get("provider", {})},
        }
        self.file.write_text(json.dumps(whole))

    @contextlib.contextmanager
    def served(self) -> Generator[SignIn]:
        """Serve it until the end."""
        with opened(self.place) as database:
            wrapped = sign_in(self.app, self.file, self.directory, database)
            server = uvicorn.Server(
                uvicorn.Config(wrapped, "127.0.0.1", self.port, log_level="error", ws="websockets-sansio")
            )
            thread = threading.Thread(target=server.run)
            thread.start()
            try:
                until = time.monotonic() + 30
                while not server.started:
                    assert time.monotonic() < until and thread.is_alive(), "the site does not start"
                    time.sleep(0.01)
                yield wrapped
            finally:
                server.should_exit = True
                thread.join()
                wrapped.parts.close()


class Browser:
    """Visits a site as a person does: keeps cookies, follows where it is sent, says which page sends a form."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self.client = httpx.Client(follow_redirects=False, timeout=30)

    def get(self, url: str) -> httpx.Response:
        """Return the page that an address leads to, in the end."""
        url = urljoin(self._site.url, url)
        for _ in range(20):
            headers = {"Accept": "text/html", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Site": "none"}
            page = self.client.get(url, headers=headers)
            if page.status_code not in (302, 303):
                return page
            url = urljoin(url, page.headers["location"])
        raise AssertionError("sent on without end")

    def sign_in(self, name: str, at: str = "/") -> httpx.Response:
        """Sign in as somebody who wants to see a page; return what they see in the end."""
        asked = self.get(at)
        assert asked.text == "who are you?", (asked.url, asked.text)
        return self.get(f"{asked.url}?name={name}")

    def post(self, path: str, form: Mapping[str, str]) -> httpx.Response:
        """Send a form of a page of the site; return what comes of it, without following."""
        headers = {"Origin": self._site.url, "Sec-Fetch-Site": "same-origin"}
        return self.client.post(f"{self._site.url}{path}", data=dict(form), headers=headers)

    def session(self) -> str:
        """Return the secret of its session."""
        return str(self.client.cookies["orchestrator-session"])

    def close(self) -> None:
        """Let its connections go."""
        self.client.close()


@contextlib.contextmanager
def browser(site: Site) -> Generator[Browser]:
    """Open a browser that knows nobody yet."""
    opened = Browser(site)
    try:
        yield opened
    finally:
        opened.close()


def audited(wrapped: SignIn) -> list[AuditRecord]:
    """Return the audit log, which must be whole."""
    log = wrapped.parts.stores.audit
    records = list(log.records())
    verify(records, log.keys)
    return records


def decisions(wrapped: SignIn) -> list[tuple[str, str, str | None, bool]]:
    """Return who wanted what, of which tenant, and whether they got it; of people only the subject."""
    return [
        (re.sub(r".*#", "", r.event.actor), r.event.action, r.event.tenant, r.event.allowed)
        for r in audited(wrapped)
    ]
