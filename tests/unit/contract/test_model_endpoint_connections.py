"""The scripted model endpoint on the wire: raw bytes, many connections, a process of its own."""

import asyncio
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import pairwise
from typing import Any
from urllib.parse import urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator_runtimes.conformance.model_endpoint import ModelEndpoint, run_in_thread
from orchestrator_runtimes.conformance.scripts import Fault, FaultKind, Script
from orchestrator_runtimes.errors import AgentError
from tests.integration.processes import wait_until

Body = dict[str, Any]


@pytest.fixture(scope="module")
def listening() -> Iterator[ModelEndpoint]:
    with run_in_thread(ModelEndpoint(most_body_bytes=1_000_000)) as endpoint:
        yield endpoint


def chat(text: str = "weather?") -> Body:
    return {"model": "m", "messages": [{"role": "user", "content": text}]}


def ask(origin: str, method: str, path: str, body: Body | None = None) -> Any:
    """Return the JSON that comes back from a path of the endpoint at `origin`."""
    url = urlsplit(origin)
    connection = http.client.HTTPConnection(url.hostname or "", url.port, timeout=10)
    try:
        connection.request(method, path, json.dumps(body) if body else None)
        return json.loads(connection.getresponse().read())
    finally:
        connection.close()


def exchange(endpoint: ModelEndpoint, *pieces: bytes) -> bytes:
    """Send raw bytes piece by piece and return everything that comes back until the server closes."""
    url = urlsplit(endpoint.base_url)
    with socket.create_connection((url.hostname, url.port or 0), timeout=10) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for piece in pieces:
            connection.sendall(piece)
        received = b""
        while data := connection.recv(65_536):
            received += data
    return received


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (b"GET /v1/models HTTP/2\r\n\r\n", 400),
        (b"GET /v1/models HTTP/1.1\r\nno colon\r\n\r\n", 400),
        (b"POST /v1/x HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 400),
        (b"POST /v1/x HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        (b"POST /v1/x HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
        (b"POST /v1/x HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nffffff\r\n", 413),
        (b"GET /v1/models HTTP/1.1\r\nX: " + b"x" * 70_000, 431),
    ],
)
def test_bytes_that_are_no_request_are_refused_and_the_connection_closes(
    listening: ModelEndpoint, request_bytes: bytes, status: int
) -> None:
    head, _, body = exchange(listening, request_bytes).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 %d " % status)
    assert b"connection: close" in head and b'"error"' in body


def test_a_client_that_waits_before_it_sends_its_body_is_told_to_continue(listening: ModelEndpoint) -> None:
    url, body = urlsplit(listening.base_url), json.dumps(chat()).encode()
    with socket.create_connection((url.hostname, url.port or 0), timeout=10) as connection:
        head = b"POST /v1/chat/completions HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n"
        connection.sendall(head % len(body))
        assert connection.recv(65_536) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(body)
        assert connection.recv(65_536).startswith(b"HTTP/1.1 200 OK")


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(1, 400), max_size=12), st.booleans())
def test_requests_cut_anywhere_and_sent_in_a_row_are_all_answered(
    listening: ModelEndpoint, cuts: list[int], chunked: bool
) -> None:
    body = json.dumps(chat()).encode()
    if chunked:
        coding = b"Transfer-Encoding: chunked"
        body = b"5\r\n" + body[:5] + b"\r\n%x;x=y\r\n" % (len(body) - 5) + body[5:] + b"\r\n0\r\n\r\n"
    else:
        coding = b"Content-Length: %d" % len(body)
    one = b"POST /v1/chat/completions HTTP/1.1\r\n" + coding + b"\r\n\r\n" + body
    stream = one * 2 + b"GET /v1/models HTTP/1.1\r\nConnection: close\r\n\r\n"
    edges = [0, *sorted(cut for cut in cuts if cut < len(stream)), len(stream)]
    received = exchange(listening, *(stream[a:b] for a, b in pairwise(edges)))
    assert received.count(b"HTTP/1.1 200 OK") == 3
    assert received.count(b'"chat.completion"') == 2


def test_five_hundred_waiting_calls_share_one_latency() -> None:
    async def ask_one(url: str, number: int) -> bytes:
        reader, writer = await asyncio.open_connection(urlsplit(url).hostname, urlsplit(url).port)
        body = json.dumps(chat(f"EXEC-{number}")).encode()
        head = (
            f"POST /v1/chat/completions HTTP/1.1\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        writer.write(head.encode() + body)
        received = await reader.read()
        writer.close()
        await writer.wait_closed()
        return received

    async def ask_all() -> tuple[list[bytes], int, int]:
        async with ModelEndpoint(Script(latency=0.5, echo=r"EXEC-\d+")) as endpoint:
            answers = await asyncio.gather(*(ask_one(endpoint.base_url, number) for number in range(500)))
            return answers, endpoint.peak_active, endpoint.active

    begun = time.monotonic()
    answers, peak, active = asyncio.run(ask_all())
    assert time.monotonic() - begun < 20, "one after the other they would take 250 seconds"
    assert all(f'EXEC-{number}"'.encode() in answer for number, answer in enumerate(answers))
    assert (peak, active) == (500, 0)


def test_a_stream_with_chunk_latency_arrives_event_by_event(listening: ModelEndpoint) -> None:
    url = urlsplit(listening.script("slowly", Script(text="a b c d", chunk_latency=0.05)))
    connection = http.client.HTTPConnection(url.hostname or "", url.port, timeout=10)
    connection.request("POST", f"{url.path}/chat/completions", json.dumps(chat() | {"stream": True}))
    response = connection.getresponse()
    times = [time.monotonic() for line in iter(response.readline, b"") if line.startswith(b"data: ")]
    connection.close()
    assert len(times) == 7
    assert times[-1] - times[0] >= 0.25


def test_a_client_that_reads_late_still_gets_all_of_a_stream(listening: ModelEndpoint) -> None:
    faults = (Fault(kind=FaultKind.HUGE, size=20_000_000),)
    url = urlsplit(listening.script("late", Script(faults=faults, chunk_latency=0.0001)))
    connection = http.client.HTTPConnection(url.hostname or "", url.port, timeout=10)
    connection.request("POST", f"{url.path}/chat/completions", json.dumps(chat() | {"stream": True}))
    response = connection.getresponse()
    time.sleep(0.3)
    text = response.read().decode()
    connection.close()
    parts = [json.loads(line[6:]) for line in text.split("\n") if line.startswith("data: {")]
    assert sum(len(part["choices"][0]["delta"].get("content", "")) for part in parts) == 20_000_000
    assert text.endswith("data: [DONE]\n\n")


def test_leaving_ends_waiting_calls_and_the_port_is_closed() -> None:
    with run_in_thread(ModelEndpoint(Script(latency=60))) as endpoint:
        url = urlsplit(endpoint.base_url)
        waiting = http.client.HTTPConnection(url.hostname or "", url.port, timeout=10)
        waiting.request("POST", "/v1/chat/completions", json.dumps(chat()))
        wait_until(lambda: endpoint.active == 1, "the endpoint sees it")
    with pytest.raises(ConnectionError):
        waiting.getresponse()
    waiting.close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((url.hostname, url.port or 0), timeout=10)
    with pytest.raises(AgentError):
        _ = endpoint.base_url


def test_as_a_process_it_prints_its_address_tells_its_calls_and_ends_on_sigterm() -> None:
    module = "orchestrator_runtimes.conformance.model_endpoint"
    scripts = ["--script", Script(text="default").to_json(), "--script", 'named={"text": "named"}']
    command = [sys.executable, "-m", module, *scripts]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout
        try:
            origin = process.stdout.readline().strip().removesuffix("/v1")
            texts = [
                ask(origin, "POST", f"{model}/v1/chat/completions", chat())["choices"][0]["message"][
                    "content"
                ]
                for model in ("", "/m/named")
            ]
            assert texts == ["default", "named"]
            seen = ask(origin, "GET", "/admin/calls?script=named&bodies=1")
            assert (seen["count"], [call["body"] for call in seen["calls"]]) == (2, [chat()])
            assert "body" not in ask(origin, "GET", "/admin/calls")["calls"][0]
            ask(origin, "POST", "/admin/reset")
            assert ask(origin, "GET", "/admin/calls")["count"] == 0
            process.send_signal(signal.SIGTERM)
            assert process.wait(10) == 0
        finally:
            process.kill()


def test_as_a_process_it_refuses_a_wrong_script_with_one_line() -> None:
    command = [sys.executable, "-m", "orchestrator_runtimes.conformance.model_endpoint", "--script", "{}{"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=30, check=False)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
