"""Hostile upstreams and hostile guests: clear errors, bounded memory, and others go on being served."""

import contextlib
import http.client
import json
import socket
import threading
import urllib.parse
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import pytest

from orchestrator_runtimes.conformance.model_endpoint import ModelEndpoint
from orchestrator_runtimes.conformance.scripts import Fault, FaultKind, Script
from orchestrator_runtimes.messages import ModelAddress
from tests.integration.gateway_calls import ask, send
from tests.integration.gateway_services import GatewayService, gateway_service

MEBIBYTE = 2**20
Serve = Callable[[socket.socket], None]


@contextlib.contextmanager
def raw_upstream(serve: Serve) -> Generator[str]:
    """Run an upstream that reads a request's head and then does what it likes; gives its base URL."""
    listener = socket.create_server(("127.0.0.1", 0))

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=answer, args=(connection,), daemon=True).start()

    def answer(connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            head = b""
            while b"\r\n\r\n" not in head:
                piece = connection.recv(65_536)
                if not piece:
                    return
                head += piece
            serve(connection)

    accepting = threading.Thread(target=accept, daemon=True)
    accepting.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        accepting.join(10)


def head(status: str = "200 OK", kind: str = "application/json", **headers: str) -> bytes:
    more = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 {status}\r\ncontent-type: {kind}\r\nconnection: close\r\n{more}\r\n".encode()


def says(content: bytes, **more: str) -> Serve:
    return lambda connection: connection.sendall(head(**more) + content)


def endless(connection: socket.socket, start: bytes, piece: bytes) -> None:
    connection.sendall(start)
    while True:
        connection.sendall(piece)


def usage(told: Any) -> bytes:
    return json.dumps({"choices": [{"message": {"content": "ok"}}], "usage": told}).encode()


def two(hostile: str, good: str, **more: Any) -> dict[str, Any]:
    """Return a configuration in which `bad` leads to a hostile upstream and every other model to a good one."""
    return {
        "upstreams": {"bad": {"base_url": hostile, **more}, "good": {"base_url": good}},
        "models": {"bad": {"targets": [{"upstream": "bad", "model": "m"}]}},
        "default": {"upstream": "good"},
    }


@pytest.fixture
def upstream(endpoint: ModelEndpoint) -> ModelEndpoint:
    endpoint.reset()
    return endpoint


def memory(service: GatewayService) -> int:
    """Return the most bytes that the gateway's process ever had in memory."""
    text = Path(f"/proc/{service.process.pid}/status").read_text()
    return next(int(line.split()[1]) * 1024 for line in text.splitlines() if line.startswith("VmHWM"))


HUGE = b"x" * MEBIBYTE
STREAM = "text/event-stream"
CHUNK = b'data: {"choices": [{"index": 0, "delta": {"content": "%s"}}]}\n\n'


LIKES: list[tuple[Serve, int, str]] = [
    (says(b"<html>busy</html>", kind="text/html"), 200, "<html>"),
    (says(b'{"error": {"message": "no"}}'), 200, '"no"'),
    (says(b""), 200, ""),
    (says(b"nonsense", status="302 Found", location="http://127.0.0.1:1/"), 502, "redirects"),
    (says(b"\x1f\x8b", content_encoding="gzip"), 502, "compressed"),
    (lambda c: c.sendall(b"nonsense\r\n\r\n"), 502, "cannot be reached"),
    (lambda c: c.sendall(head(content_length="100") + b"half"), 502, "cannot be reached"),
    (lambda c: c.sendall(b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 10_000), 502, "cannot be reached"),
    (lambda c: endless(c, head(), HUGE), 502, "more than"),
    (lambda c: endless(c, head("500 Broken"), HUGE), 500, "xxx"),
    (lambda c: None, 502, "cannot be reached"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("serve", "status", "words"),
    LIKES,
    ids=[
        "html", "an error with 200", "nothing with 200", "redirects", "compressed", "no http", "half a body",
        "headers without end", "a body without end", "an error without end", "closes",
    ],
)  # fmt: skip
def test_an_upstream_that_does_what_it_likes_harms_only_its_own_calls(
    tmp_path: Path, upstream: ModelEndpoint, serve: Serve, status: int, words: str
) -> None:
    with (
        raw_upstream(serve) as hostile,
        gateway_service(tmp_path, two(hostile, upstream.base_url)) as service,
    ):
        answer = ask(service.model(seconds=4), "hi", model="bad")
        assert answer.status == status, answer.body[:500]
        assert words in answer.body[:2_000].decode()
        if status >= 500 and words != "xxx":
            assert answer.error["type"] == "gateway"
        assert ask(service.model(), "hi").status == 200
        assert memory(service) < 450 * MEBIBYTE
        assert "Traceback" not in service.log


@pytest.mark.parametrize(
    "told",
    [
        {"prompt_tokens": -5, "completion_tokens": 1},
        {"prompt_tokens": 10**30, "completion_tokens": 1},
        {"prompt_tokens": "many", "completion_tokens": True},
        ["nothing"],
        "lies",
    ],
    ids=["negative", "absurd", "words", "a list", "a text"],
)
def test_usage_that_is_a_lie_is_not_counted_and_the_answer_is_served(
    tmp_path: Path, upstream: ModelEndpoint, told: Any
) -> None:
    configuration = two("http://127.0.0.1:1/v1", upstream.base_url)
    with raw_upstream(says(usage(told))) as hostile:
        configuration["upstreams"]["bad"]["base_url"] = hostile
        with gateway_service(tmp_path, configuration) as service:
            answer = ask(service.model(), "hi", model="bad")
            assert answer.status == 200 and b'"ok"' in answer.body
            assert ask(service.model(), "hi", model="bad").replayed


def test_an_upstream_that_says_nothing_is_given_up(tmp_path: Path, upstream: ModelEndpoint) -> None:
    silent = upstream.script("silent", Script(faults=(Fault(kind=FaultKind.HANG),)))
    configuration = two(silent, upstream.base_url, silence_seconds=0.5)
    with gateway_service(tmp_path, configuration) as service:
        answer = ask(service.model(seconds=3), "hi", model="bad")
        assert answer.status == 504 and "did not answer in time" in answer.error["message"]
        assert ask(service.model(), "hi").status == 200


BROKEN_STREAMS: list[Serve] = [
    lambda c: c.sendall(head(kind=STREAM) + CHUNK % b"half"),
    lambda c: c.sendall(head(kind=STREAM, content_length="9999") + CHUNK % b"half"),
    lambda c: c.sendall(head(kind=STREAM) + b"data: {nonsense\n\ndata: [DONE]\n\n"),
    lambda c: endless(c, head(kind=STREAM), CHUNK % HUGE),
]


@pytest.mark.parametrize(
    "serve",
    BROKEN_STREAMS,
    ids=["ends early", "is cut off", "is no JSON", "has no end"],
)
def test_a_stream_that_is_not_whole_is_never_kept(
    tmp_path: Path, upstream: ModelEndpoint, serve: Serve
) -> None:
    with (
        raw_upstream(serve) as hostile,
        gateway_service(tmp_path, two(hostile, upstream.base_url)) as service,
    ):
        for _ in range(2):
            # it may be cut off, which is what a guest sees of it
            with contextlib.suppress(OSError, http.client.HTTPException):
                answer = ask(service.model(), "hi", model="bad", stream=True)
                assert not answer.replayed
        assert ask(service.model(), "hi").status == 200
        assert memory(service) < 450 * MEBIBYTE


@pytest.fixture
def service(tmp_path: Path, upstream: ModelEndpoint) -> Iterator[GatewayService]:
    with gateway_service(tmp_path, two("http://127.0.0.1:1/v1", upstream.base_url)) as running:
        yield running


def raw(service: GatewayService, content: bytes, *, wait: float = 30) -> bytes:
    """Send any bytes to the gateway and return what it says until it hangs up or says no more."""
    base = urllib.parse.urlsplit(service.address)
    with socket.create_connection((str(base.hostname), base.port), timeout=wait) as connection:
        got = b""
        with contextlib.suppress(OSError):
            connection.sendall(content)
            while piece := connection.recv(65_536):
                got += piece
                if b"\r\n\r\n" in got and b"content-length" in got.lower():
                    break
        return got


@pytest.mark.parametrize(
    ("content", "statuses"),
    [
        (b"POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\n" + b"x: y\r\n" * 10_000 + b"\r\n", (400, 431)),
        (b"POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\nx: " + b"y" * 2**20 + b"\r\n\r\n", (400, 431)),
        (b"GET /" + b"a" * 2**20 + b" HTTP/1.1\r\nhost: a\r\n\r\n", (400, 414)),
        (b"GET /v1/../admin/upstreams HTTP/1.1\r\nhost: a\r\n\r\n", (401, 404)),
        (b"GET /v1/%2e%2e/admin/upstreams HTTP/1.1\r\nhost: a\r\n\r\n", (401, 404)),
        (b"GET //admin/upstreams HTTP/1.1\r\nhost: a\r\n\r\n", (401, 404)),
        (b"POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\n{}", (401,)),
        (b"POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n"
         b"transfer-encoding: chunked\r\n\r\n{}", (400,)),
        (b"nonsense\r\n\r\n", (400,)),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", (400,)),
    ],
    ids=[
        "10,000 headers", "a long header", "a long path", "outside", "outside, hidden", "two slashes", "no token",
        "two lengths", "nonsense", "TLS",
    ],
)  # fmt: skip
def test_what_is_no_good_request_is_refused_and_others_are_served(
    service: GatewayService, content: bytes, statuses: tuple[int, ...]
) -> None:
    told = raw(service, content)
    assert int(told.split()[1]) in statuses, told[:300]
    assert ask(service.model(), "hi").status == 200


@pytest.mark.parametrize(
    ("body", "status", "headers"),
    [
        (b"{", 400, {}),
        (b"\xff", 400, {}),
        (b'{"model": "m", "model": "bad"}', 400, {}),
        (b'{"a": ' * 50_000, 400, {}),
        (b"1" * 10_000, 400, {}),
        (b"[]", 200, {}),
        (b"{}", 415, {"content-encoding": "gzip"}),
        (b'{"model": 5}', 200, {}),
        (b" " * (65 * MEBIBYTE), 413, {}),
    ],
    ids=["half", "no text", "twice", "deep", "a number", "a list", "compressed", "a model 5", "65 MiB"],
)
def test_a_body_that_is_no_good_is_refused_or_the_upstreams_to_judge(
    service: GatewayService, body: bytes, status: int, headers: dict[str, str]
) -> None:
    address = service.model()
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # refused before it was sent whole
        answer = send(address, body, headers=headers)
        assert answer.status == status or (status == 200 and answer.status in (400, 404, 422)), answer.body
        if status != 200:
            assert answer.error["message"]
    assert ask(service.model(), "hi").status == 200
    assert "Traceback" not in service.log


def test_a_token_of_another_tenant_gets_nothing_of_this_ones(service: GatewayService) -> None:
    own, other = service.model(tenant="one"), service.model(tenant="two")
    told = ask(own, "hi")
    assert told.status == 200
    answer = ask(other, "hi")
    assert answer.status == 200 and not answer.replayed, "the same execution's name, of another tenant"
    head_and_claims, _, _ = str(own.api_key).rpartition(".")
    _, _, signature = str(other.api_key).rpartition(".")
    forged = ModelAddress(base_url=own.base_url, api_key=f"{head_and_claims}.{signature}")
    refused = ask(forged, "hi")
    assert refused.status == 401 and "was not issued for this gateway" in refused.error["message"]


def test_requests_that_come_slowly_or_not_at_all_keep_nobody_waiting(service: GatewayService) -> None:
    base = urllib.parse.urlsplit(service.address)
    address = service.model()
    begun = (
        f"POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {address.api_key}\r\n"
        "content-length: 1000000\r\n\r\n{"
    ).encode()
    with contextlib.ExitStack() as open_connections:
        for content in (b"", b"POST /v1/chat/completions HTTP/1.1\r\nx: ", begun) * 100:
            connection = socket.create_connection((str(base.hostname), base.port), timeout=30)
            open_connections.enter_context(connection)
            connection.sendall(content)
        assert ask(service.model(execution="f"), "hi").status == 200
