"""Model calls as a guest makes them, with nothing between it and the gateway."""

import contextlib
import http.client
import json
import urllib.parse
from typing import Any

from orchestrator_runtimes.messages import ModelAddress

REPLAYED = "x-orchestrator-replayed"


class Answered:
    """What a guest got."""

    def __init__(self, status: int, headers: http.client.HTTPMessage, body: bytes) -> None:
        """Keep what came."""
        self.status, self.headers, self.body = status, headers, body

    @property
    def replayed(self) -> bool:
        """Whether it comes from the journal."""
        return self.headers.get(REPLAYED) == "1"

    @property
    def error(self) -> dict[str, Any]:
        """The error object, as an OpenAI client reads it."""
        found: dict[str, Any] = json.loads(self.body)["error"]
        return found


def ask(
    address: ModelAddress,
    text: str,
    *,
    path: str = "/chat/completions",
    model: str = "m",
    headers: dict[str, str] | None = None,
    **more: Any,
) -> Answered:
    """Make a call."""
    body = {"model": model, "messages": [{"role": "user", "content": text}], **more}
    return send(address, json.dumps(body).encode(), path=path, headers=headers)


def send(
    address: ModelAddress,
    body: bytes,
    *,
    path: str = "/chat/completions",
    method: str = "POST",
    headers: dict[str, str] | None = None,
) -> Answered:
    """Send any request with the token of an address."""
    base = urllib.parse.urlsplit(address.base_url)
    connection = http.client.HTTPConnection(str(base.hostname), base.port, timeout=60)
    with contextlib.closing(connection):
        sent = {"content-type": "application/json", "authorization": f"Bearer {address.api_key}"}
        connection.request(method, base.path + path, body, sent | (headers or {}))
        answer = connection.getresponse()
        return Answered(answer.status, answer.headers, answer.read())
