"""The front of the embedded model's server: what it changes in a request, and what it does when a side goes away."""

import http.client
import json
import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from orchestrator_resources.embedded_model import front

TOOLS = [{"type": "function", "function": {"name": "weather"}}]
CALL = {"role": "assistant", "tool_calls": [{"id": "1"}], "content": None}
RESULT = {"role": "tool", "tool_call_id": "1", "content": "sunny"}


class Backend(BaseHTTPRequestHandler):
    """What stands for llama.cpp: it keeps what it is asked, and answers as the path says."""

    protocol_version = "HTTP/1.1"
    asked: list[tuple[str, dict[str, str], bytes]]
    gone: threading.Event

    def do_GET(self) -> None:
        self.answer(b'{"status": "ok"}')

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.asked.append((self.path, dict(self.headers), body))
        if self.path == "/hangs":
            self.connection.settimeout(20)
            if not self.connection.recv(1):
                self.gone.set()
            self.close_connection = True
        elif self.path == "/streams":
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            try:
                for _ in range(2_000):
                    self.wfile.write(b"6\r\ndata\n\n\r\n")
                    time.sleep(0.01)
            except OSError:
                self.gone.set()
            self.close_connection = True
        elif self.path == "/breaks":
            self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
            self.close_connection = True
        elif self.path == "/vanishes":
            self.close_connection = True
        else:
            self.answer(body)

    def answer(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def backend() -> Iterator[type[Backend]]:
    handler = type("Asked", (Backend,), {"asked": [], "gone": threading.Event()})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    door = front.serve(f"http://127.0.0.1:{server.server_port}")
    handler.port = door.server_port  # type: ignore[attr-defined]  # for the tests
    for one in (server, door):
        threading.Thread(target=one.serve_forever, daemon=True).start()
    yield handler
    for one in (door, server):
        one.shutdown()
        one.server_close()


def port(backend: type[Backend]) -> int:
    return int(getattr(backend, "port"))  # noqa: B009  # it is set by the fixture


def ask(backend: type[Backend], path: str, body: bytes, **headers: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port(backend), timeout=20)
    try:
        connection.request("POST", path, body, headers)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def adapted(**request: Any) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(front.adapted(json.dumps(request).encode()))
    return told


def test_a_schema_waits_until_a_tool_has_answered() -> None:
    user = {"role": "user", "content": "hi"}
    first = adapted(messages=[user], tools=TOOLS, response_format={"type": "json_object"}, seed=1)
    assert first == {"messages": [user], "tools": TOOLS, "seed": 1}
    second = adapted(
        messages=[user, CALL, RESULT],
        tools=TOOLS,
        tool_choice="auto",
        response_format={"type": "json_object"},
    )
    assert second == {
        "messages": [user, {"role": "user", "content": "Result: sunny"}],
        "response_format": {"type": "json_object"},
    }


def test_words_beside_a_tool_call_are_kept() -> None:
    said = {**CALL, "content": [{"type": "text", "text": "I look."}, {"type": "image"}]}
    told = adapted(messages=[said, {**RESULT, "content": [{"type": "text", "text": "rain"}]}])
    assert told["messages"] == [
        {"role": "assistant", "content": "I look.\n"},
        {"role": "user", "content": "Result: rain"},
    ]


@pytest.mark.parametrize(
    "body",
    [
        b"", b"{", b"\xff\xfe", b"[]", b"7", b'{"messages": 7}', b'{"messages": []}', b'{"messages": ["x"]}',
        b'{"input": "x", "tools": [1]}', b"[" * 100_000,
    ],
    ids=lambda body: repr(body[:20]),
)  # fmt: skip
def test_what_is_no_chat_is_the_servers_to_judge(body: bytes) -> None:
    assert front.adapted(body) == body


def test_requests_and_answers_pass_with_the_headers_that_count(backend: type[Backend]) -> None:
    body = b'{"prompt": "x"}'
    headers = {"Authorization": "Bearer k", "X-Forwarded-For": "nobody", "Content-Type": "application/json"}
    assert ask(backend, "/v1/completions", body, **headers) == (200, body)
    ((path, seen, _),) = backend.asked
    assert path == "/v1/completions"
    assert seen["Authorization"] == "Bearer k"
    assert "X-Forwarded-For" not in seen


def test_one_connection_serves_many_requests(backend: type[Backend]) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port(backend), timeout=20)
    for n in range(3):
        connection.request("POST", "/echo", f"[{n}]")
        assert connection.getresponse().read() == f"[{n}]".encode()
    connection.request("GET", "/health")
    assert json.loads(connection.getresponse().read()) == {"status": "ok"}
    connection.close()


@pytest.mark.parametrize("length", ["", "x", "-1", "²", str(front.BODY_BYTES + 1)])
def test_a_body_without_a_sane_length_is_refused_and_not_read(length: str, backend: type[Backend]) -> None:
    with socket.create_connection(("127.0.0.1", port(backend)), timeout=20) as client:
        header = f"Content-Length: {length}\r\n" if length else ""
        client.sendall(f"POST /echo HTTP/1.1\r\nHost: x\r\n{header}\r\n".encode())
        said = client.makefile("rb").read()
    assert said.startswith(b"HTTP/1.1 413 ")
    assert json.loads(said.partition(b"\r\n\r\n")[2])["error"]["type"] == "front_error"
    assert backend.asked == []


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"GET /health HTTP/1.1\r\n" + b"X: y\r\n" * 200 + b"\r\n", b"431"),
        (b"GET /health HTTP/1.1\r\nX: " + b"y" * 70_000 + b"\r\n\r\n", b"431"),
        (b"GET /" + b"y" * 70_000 + b" HTTP/1.1\r\n\r\n", b"414"),
        (b"DELETE /v1/models HTTP/1.1\r\n\r\n", b"501"),
        (b"nonsense\r\n\r\n", b"400"),
    ],
    ids=["many headers", "long header", "long path", "method", "nonsense"],
)
def test_a_head_that_is_no_request_is_refused(head: bytes, status: bytes, backend: type[Backend]) -> None:
    with socket.create_connection(("127.0.0.1", port(backend)), timeout=20) as client:
        client.sendall(head)
        assert status in client.makefile("rb").read(1_000)


def test_half_a_body_is_not_passed_on(backend: type[Backend]) -> None:
    with socket.create_connection(("127.0.0.1", port(backend)), timeout=20) as client:
        client.sendall(b"POST /echo HTTP/1.1\r\nContent-Length: 100\r\n\r\n{}")
        client.shutdown(socket.SHUT_WR)
        assert client.recv(100) == b""
    assert backend.asked == []


@pytest.mark.parametrize("path", ["/hangs", "/streams"])
def test_a_client_that_goes_away_ends_the_generation(path: str, backend: type[Backend]) -> None:
    with socket.create_connection(("127.0.0.1", port(backend)), timeout=20) as client:
        client.sendall(f"POST {path} HTTP/1.1\r\nContent-Length: 2\r\n\r\n{{}}".encode())
        if path == "/streams":
            assert client.recv(10)
        else:
            deadline = time.monotonic() + 20
            while not backend.asked and time.monotonic() < deadline:
                time.sleep(0.01)
    assert backend.gone.wait(20)


def test_a_server_that_fails_is_told_as_an_error(backend: type[Backend]) -> None:
    status, said = ask(backend, "/vanishes", b"{}")
    assert status == 502
    assert "the model's server failed" in json.loads(said)["error"]["message"]
    with pytest.raises(http.client.IncompleteRead):
        ask(backend, "/breaks", b"{}")
    assert ask(backend, "/echo", b"{}") == (200, b"{}")
