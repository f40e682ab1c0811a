"""The HTTP front of the embedded model's server: it puts requests so that a very small model can follow them.

- llama.cpp turns a JSON schema into a grammar for the whole answer, so that a request with tools and a schema could
  never call a tool: the schema is left out until a tool has answered.
- The model copies any markup it has seen, so that it would write tool calls for ever: once a tool has answered, the
  model is offered no tool, and calls and results are told to it in plain words.

Everything else passes as it is.
"""

import contextlib
import http.client
import json
import select
import socket
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

SECONDS = 600.0
BODY_BYTES = 8 * 2**20
CHUNK_BYTES = 65_536
PASSED = ("Authorization", "Content-Type", "Accept")


def adapted(body: bytes) -> bytes:
    """Return a request as the server should see it."""
    try:
        request: Any = json.loads(body)
    except (ValueError, RecursionError):
        return body  # the server says what is wrong with it
    messages: Any = request.get("messages") if _is_a(request, dict) else None
    if not _is_a(messages, list) or not all(_is_a(one, dict) for one in messages) or not messages:
        return body
    if messages[-1].get("role") == "tool":
        request["messages"] = [told for message in messages if (told := _in_plain_words(message)) is not None]
        for name in ("tools", "tool_choice", "parallel_tool_calls"):
            request.pop(name, None)
    elif request.get("tools"):
        request.pop("response_format", None)
    return json.dumps(request).encode()


def _is_a(value: object, kind: type) -> bool:
    """Tell without narrowing: what is inside of foreign JSON has no type that is known here."""
    return isinstance(value, kind)


def _in_plain_words(message: dict[str, Any]) -> dict[str, Any] | None:
    """Return a message without markup of tools; None for one that held nothing else."""
    if message.get("role") == "tool":
        return {"role": "user", "content": f"Result: {_text(message.get('content'))}"}
    if message.get("tool_calls"):
        said = _text(message.get("content"))
        return {"role": "assistant", "content": said} if said else None
    return message


def _text(content: Any) -> str:
    if _is_a(content, list):
        return "\n".join(str(part.get("text", "")) for part in content if _is_a(part, dict))
    return str(content or "")


class Front(BaseHTTPRequestHandler):
    """One connection of a client."""

    protocol_version = "HTTP/1.1"
    timeout = SECONDS
    backend: str

    def do_GET(self) -> None:
        """Pass a request without a body on."""
        self._pass_on(None)

    def do_POST(self) -> None:
        """Pass a request with a body on."""
        length = self.headers.get("Content-Length", "")
        if not (length.isascii() and length.isdigit()) or int(length) > BODY_BYTES:
            self._refuse(413, f"a body of at most {BODY_BYTES} bytes with its Content-Length is taken")
            return
        body = self.rfile.read(int(length))
        if len(body) < int(length):
            self.close_connection = True  # the client is gone
            return
        self._pass_on(adapted(body))

    def _pass_on(self, body: bytes | None) -> None:
        headers = {name: value for name in PASSED if (value := self.headers.get(name)) is not None}
        connection = http.client.HTTPConnection(self.backend, timeout=SECONDS)
        # closing the connection also ends a generation that nobody reads any more
        with contextlib.closing(connection):
            try:
                connection.request(self.command, self.path, body, headers)
                if not self._client_waits(connection.sock):
                    self.close_connection = True
                    return
                answer = connection.getresponse()
            except (OSError, ValueError, http.client.HTTPException) as error:
                self._refuse(502, f"the model's server failed: {error}")
                return
            try:
                self._answer(answer)
            except (OSError, http.client.HTTPException):
                self.close_connection = True  # one of the two is gone; what was sent cannot be taken back

    def _client_waits(self, backend: socket.socket) -> bool:
        """Wait for the answer's first byte; False when the client went away before."""
        ready, _, _ = select.select([backend, self.connection], [], [], SECONDS)
        if backend in ready or self.connection not in ready:
            return True
        return bool(self.connection.recv(1, socket.MSG_PEEK))  # a byte is its next request

    def _answer(self, answer: http.client.HTTPResponse) -> None:
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.headers.get("Content-Type", "application/json"))
        length = answer.headers.get("Content-Length")
        self.send_header(*(("Content-Length", length) if length else ("Transfer-Encoding", "chunked")))
        self.end_headers()
        sent = 0
        while piece := answer.read1(CHUNK_BYTES):
            self.wfile.write(piece if length else b"%x\r\n%s\r\n" % (len(piece), piece))
            sent += len(piece)
        if not length:
            self.wfile.write(b"0\r\n\r\n")
        elif sent < int(length):
            self.close_connection = True  # the server broke off, and the client must not wait for the rest

    def _refuse(self, status: int, message: str) -> None:
        """Answer as the server does when something is wrong, and close: what follows on the wire may be anything."""
        self.close_connection = True
        text = json.dumps({"error": {"code": status, "message": message, "type": "front_error"}}).encode()
        with contextlib.suppress(OSError):
            self.send_response(status)
            for name, value in (
                ("Content-Type", "application/json"),
                ("Content-Length", str(len(text))),
                ("Connection", "close"),
            ):
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(text)

    def log_message(self, format: str, *args: object) -> None:
        """Write nothing: the server keeps its own log."""


def serve(address: str) -> ThreadingHTTPServer:
    """Listen on a free port of the loopback for the server at `address`; the caller runs `serve_forever`."""
    handler = type("FrontOf", (Front,), {"backend": urllib.parse.urlsplit(address).netloc})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    return server
