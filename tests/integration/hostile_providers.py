"""An OpenID provider that says whatever a test wants: forged tokens, huge answers, none."""

import contextlib
import json
import threading
import time
from collections.abc import Generator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

from joserfc import jwt
from joserfc.jwk import Key, RSAKey

from tests.integration.openid_providers import CLIENT_ID

KEY: Final = RSAKey.generate_key(2048, {"kid": "own", "use": "sig"})
OTHER: Final = RSAKey.generate_key(2048, {"kid": "own", "use": "sig"})
"""Somebody else's, under the same name."""


class HostileProvider:
    """What it answers, which tests change.

    Attributes:
        claims: That take the place of those of a proper token; None takes one away.
        key: That signs.
        header: Of the token.
        token: In place of a signed one; None signs one.
        metadata: That take the place of proper ones; None takes one away.
        answers: What a path answers in place of what it should: status and body.
        pause: Seconds before each answer.
        asked: Paths that were asked for.
    """

    def __init__(self) -> None:
        self.claims: dict[str, Any] = {}
        self.key: Key = KEY
        self.header: dict[str, Any] = {"alg": "RS256", "kid": "own"}
        self.token: str | None = None
        self.metadata: dict[str, Any] = {}
        self.answers: dict[str, tuple[int, bytes]] = {}
        self.pause = 0.0
        self.asked: list[str] = []
        self.nonce = ""
        self.issuer = ""

    def answer(self, path: str) -> tuple[int, bytes]:
        """Return what a path answers."""
        self.asked.append(path)
        time.sleep(self.pause)
        if path in self.answers:
            return self.answers[path]
        match path:
            case "/.well-known/openid-configuration":
                return 200, json.dumps(self._changed(self._metadata(), self.metadata)).encode()
            case "/keys":
                return 200, json.dumps({"keys": [KEY.as_dict(private=False)]}).encode()
            case "/token":
                return 200, json.dumps(
                    {"access_token": "a", "id_token": self.token or self.signed()}
                ).encode()
            case _:
                return 404, b"{}"

    def signed(self) -> str:
        """Return a token, proper but for what a test changed."""
        now = int(time.time())
        proper = {
            "iss": self.issuer,
            "sub": "ada",
            "aud": CLIENT_ID,
            "iat": now,
            "exp": now + 300,
            "nonce": self.nonce,
            "groups": ["/acme/red/editor"],
        }
        algorithms = [self.header["alg"]]
        return jwt.encode(self.header, self._changed(proper, self.claims), self.key, algorithms)

    def _metadata(self) -> dict[str, Any]:
        return {
            "issuer": self.issuer,
            **{
                name: f"{self.issuer}/{path}"
                for name, path in (
                    ("authorization_endpoint", "authorize"),
                    ("token_endpoint", "token"),
                    ("jwks_uri", "keys"),
                )
            },
        }

    @staticmethod
    def _changed(proper: dict[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in {**proper, **other}.items() if value is not None}


@contextlib.contextmanager
def hostile_provider() -> Generator[HostileProvider]:
    """Serve one until the end."""
    provider = HostileProvider()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, body = provider.answer(urlsplit(self.path).path)
            with contextlib.suppress(OSError):
                self.send_response(status)
                if 300 <= status < 400:
                    self.send_header("Location", body.decode())
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.do_GET()

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    provider.issuer = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield provider
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def began(location: str) -> Mapping[str, str]:
    """Return the parameters that a browser was sent to the provider with."""
    return {name: values[0] for name, values in parse_qs(urlsplit(location).query).items()}
