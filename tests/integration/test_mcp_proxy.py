"""MCP servers behind the gateway: a real server of the official SDK, and hostile ones."""

import contextlib
import http.client
import json
import os
import signal
import threading
import urllib.parse
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

import pytest

from orchestrator_gateway.mcp_settings import McpServer, McpServerSettings
from orchestrator_resources.gateway import LocalGateway
from orchestrator_runtimes.messages import ModelAddress
from tests.integration import genai_conventions
from tests.integration.local_gateways import local_gateway
from tests.integration.order_servers import counted, order_server
from tests.integration.otlp_receiver import Receiver
from tests.integration.processes import wait_until

ACCEPT: Final = "application/json, text/event-stream"


@pytest.fixture
def told(tmp_path: Path) -> Path:
    return tmp_path / "told"


@pytest.fixture
def orders(told: Path) -> Iterator[str]:
    with order_server(told) as url:
        yield url


def started(folder: Path, url: str, **settings: Any) -> contextlib.AbstractContextManager[LocalGateway]:
    """Serve with one MCP server behind the gateway, and no model."""
    server = McpServer(settings=McpServerSettings(url=url, **settings), headers={"x-key": "the-operators"})
    return local_gateway(folder / "journal.db", "http://127.0.0.1:1/v1", mcp_servers={"orders": server})


class Client:
    """A client of the protocol with one try's token."""

    def __init__(self, gateway: LocalGateway, execution: str = "e", agent: str = "a") -> None:
        self.address = gateway.model(execution=execution, agent=agent, inputs="hi", seconds=60)
        self.session: str | None = None
        self._replayed = False
        self.status = 0

    def send(self, message: dict[str, Any], *, server: str = "orders", method: str = "POST") -> Any:
        base = urllib.parse.urlsplit(self.address.base_url)
        headers = {"content-type": "application/json", "accept": ACCEPT}
        headers["authorization"] = f"Bearer {self.address.api_key}"
        if self.session is not None:
            headers["mcp-session-id"] = self.session
        connection = http.client.HTTPConnection(str(base.hostname), base.port, timeout=60)
        with contextlib.closing(connection):
            connection.request(method, f"/mcp/{server}", json.dumps(message), headers)
            answer = connection.getresponse()
            body = answer.read().decode()
            self.status = answer.status
            self.session = answer.headers.get("mcp-session-id") or self.session
            self._replayed = answer.headers.get("x-orchestrator-replayed") == "1"
        if (answer.headers.get("content-type") or "").startswith("text/event-stream"):
            body = [line[5:] for line in body.splitlines() if line.startswith("data:")][-1]
        return json.loads(body) if body else None

    def replayed(self) -> bool:
        """Return whether the last answer came from the journal."""
        return self._replayed

    def begin(self) -> "Client":
        info = {"name": "test", "version": "1"}
        params = {"protocolVersion": "2025-03-26", "capabilities": {}, "clientInfo": info}
        assert self.send({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params})["result"]
        self.send({"jsonrpc": "2.0", "method": "notifications/initialized"})
        assert self.status == 202
        return self

    def call(self, city: str, tool: str = "order", number: Any = 7) -> Any:
        params = {"name": tool, "arguments": {"city": city}}
        return self.send({"jsonrpc": "2.0", "id": number, "method": "tools/call", "params": params})


def text_of(answer: Any) -> str:
    return str(answer["result"]["content"][0]["text"])


def test_a_retry_gets_the_result_and_the_server_no_second_call(
    tmp_path: Path, told: Path, orders: str
) -> None:
    with started(tmp_path, orders) as gateway:
        first = Client(gateway).begin()
        assert text_of(first.call("Oslo")) == "ordered Oslo" and not first.replayed()
        again = Client(gateway).begin()
        answer = again.call("Oslo", number="other")
        assert text_of(answer) == "ordered Oslo" and answer["id"] == "other" and again.replayed()
        assert text_of(again.call("Oslo")) == "ordered Oslo" and not again.replayed(), "its second one is new"
        assert Client(gateway, agent="b").begin().call("Oslo") and counted(told) == ["Oslo"] * 3
    with started(tmp_path, orders) as gateway:
        assert text_of(Client(gateway).begin().call("Oslo")) == "ordered Oslo"
    assert counted(told) == ["Oslo"] * 3


def test_what_a_tool_tells_as_its_error_is_a_result(tmp_path: Path, told: Path, orders: str) -> None:
    with started(tmp_path, orders) as gateway:
        clients = [Client(gateway).begin() for _ in range(2)]
        for client in clients:
            assert client.call("Atlantis")["result"]["isError"] is True
    assert clients[1].replayed() and counted(told) == ["Atlantis"]


def test_equal_calls_of_one_try_at_once_are_different_calls(tmp_path: Path, told: Path, orders: str) -> None:
    with started(tmp_path, orders) as gateway:
        for _ in range(2):
            client = Client(gateway).begin()
            with ThreadPoolExecutor(4) as threads:
                assert {
                    text_of(a) for a in threads.map(client.call, ["Oslo"] * 4, ["order"] * 4, range(4))
                } == {"ordered Oslo"}
    assert counted(told) == ["Oslo"] * 4


def test_a_guest_that_goes_away_has_its_result_when_it_comes_back(
    tmp_path: Path, told: Path, orders: str
) -> None:
    with started(tmp_path, orders) as gateway:
        client = Client(gateway).begin()
        base = urllib.parse.urlsplit(client.address.base_url)
        connection = http.client.HTTPConnection(str(base.hostname), base.port)
        headers = {"authorization": f"Bearer {client.address.api_key}", "accept": ACCEPT}
        headers |= {"content-type": "application/json", "mcp-session-id": str(client.session)}
        params = {"name": "order", "arguments": {"city": "Oslo"}}
        message = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
        connection.request("POST", "/mcp/orders", json.dumps(message), headers)
        wait_until(lambda: counted(told) == ["Oslo"], "the call is on its way")
        connection.close()
        assert text_of(Client(gateway).begin().call("Oslo")) == "ordered Oslo"
    assert counted(told) == ["Oslo"]


def test_a_once_tool_whose_result_was_lost_is_an_error_and_is_not_called_again(
    tmp_path: Path, told: Path, orders: str
) -> None:
    with started(tmp_path, orders, once=("order",)) as gateway:
        assert text_of(Client(gateway).begin().call("Oslo")) == "ordered Oslo"
        client = Client(gateway).begin()
        assert text_of(client.call("Oslo")) == "ordered Oslo" and client.replayed()

        def call() -> None:
            with pytest.raises((OSError, http.client.HTTPException)):
                client.call("Hang")

        calling = threading.Thread(target=call)
        calling.start()
        wait_until(lambda: "Hang" in counted(told), "the call is on its way")
        os.kill(gateway.pid, signal.SIGKILL)
        calling.join()
    with started(tmp_path, orders, once=("order",)) as gateway:
        after = Client(gateway).begin()
        error = after.call("Hang")["error"]  # once the lease of the killed gateway's call has ended
        assert error["data"]["code"] == "result_unknown" and "may run only once" in error["message"]
        assert text_of(after.call("Oslo")) == "ordered Oslo", "others are not affected"
    assert sorted(counted(told)) == ["Hang", "Oslo"]


def test_only_tools_that_agents_may_use_are_offered_and_called(
    tmp_path: Path, told: Path, orders: str
) -> None:
    with started(tmp_path, orders, tools=("order",)) as gateway:
        client = Client(gateway).begin()
        listed = client.send({"jsonrpc": "2.0", "id": 1, "method": "tools/list"})
        assert [tool["name"] for tool in listed["result"]["tools"]] == ["order"]
        assert "no tool 'secret'" in client.call("", tool="secret")["error"]["message"]
        assert (
            client.send({"jsonrpc": "2.0", "id": 1, "method": "ping"}, server="tides")
            and client.status == 404
        )


def test_a_session_is_of_the_try_that_began_it(tmp_path: Path, orders: str) -> None:
    with started(tmp_path, orders) as gateway:
        mine, other = Client(gateway).begin(), Client(gateway, execution="f")
        other.session = mine.session
        other.call("Oslo")
        assert other.status == 404
        other.address = ModelAddress(base_url=other.address.base_url, api_key="stolen")
        other.call("Oslo")
        assert other.status == 401
        mine.send({}, method="DELETE")
        assert mine.status in (200, 204)


@contextlib.contextmanager
def hostile(
    answer: bytes, content_type: str = "application/json", status: int = 200
) -> Generator[tuple[str, Any]]:
    """Serve one answer to everything; yield the address and the headers that came."""
    seen: list[Any] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            seen.append(self.headers)
            self.send_response(status)
            self.send_header("content-type", content_type)
            self.end_headers()
            with contextlib.suppress(OSError):
                self.wfile.write(answer)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/mcp", seen
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


OTHER: Final = b'{"jsonrpc": "2.0", "id": 8, "result": {"content": []}}'
EVENTS: Final = "text/event-stream"


@pytest.mark.parametrize(
    ("answer", "content_type", "status", "said"),
    [
        (OTHER, "application/json", 200, "another request"),
        (b"data: " + OTHER + b"\n\n", EVENTS, 200, "before it was whole"),
        (b"<html>", "application/json", 200, "no message"),
        (b"data: {\n\n", EVENTS, 200, "no message"),
        (b"[]", "application/json", 200, "no message"),
        (b"x" * 20_000, "application/json", 200, "more than 10000 bytes"),
        (b"data: " + b"x" * 20_000, EVENTS, 200, "more than 10000 bytes"),
        (b"", "application/json", 202, "status 202"),
        (b"", "application/json", 302, "status 302"),
        (b"", "application/json", 500, "status 500"),
        (b"", "application/json", 401, "refuses the gateway's key"),
    ],
)
def test_what_a_hostile_server_answers_is_an_error_and_is_not_kept(
    tmp_path: Path, answer: bytes, content_type: str, status: int, said: str
) -> None:
    with (
        hostile(answer, content_type, status) as (url, seen),
        started(tmp_path, url, answer_bytes=10_000) as gateway,
    ):
        clients = [Client(gateway) for _ in range(2)]
        for client in clients:
            told = client.call("Oslo")
            assert said in told["error"]["message"] and told["id"] == 7
    assert len(seen) == 2 and not any(client.replayed() for client in clients)
    assert {headers["x-key"] for headers in seen} == {"the-operators"}
    assert not any("authorization" in headers for headers in seen)


def test_a_server_that_hangs_or_is_not_there_ends_in_time(tmp_path: Path, told: Path, orders: str) -> None:
    with started(tmp_path, orders, call_seconds=2.0) as gateway:
        assert "in time" in Client(gateway).begin().call("Hang")["error"]["message"]
    with started(tmp_path / "none", "http://127.0.0.1:1/mcp", once=("order",)) as gateway:
        for _ in range(2):  # it was not called: that is no reason not to try again
            assert "cannot be reached" in Client(gateway).call("Oslo")["error"]["message"]


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'{"jsonrpc": "2.0"}', b"[" * 100_000])
def test_what_a_hostile_guest_sends_is_refused(tmp_path: Path, body: bytes) -> None:
    with started(tmp_path, "http://127.0.0.1:1/mcp") as gateway:
        client = Client(gateway)
        base = urllib.parse.urlsplit(client.address.base_url)
        connection = http.client.HTTPConnection(str(base.hostname), base.port, timeout=60)
        with contextlib.closing(connection):
            headers = {"authorization": f"Bearer {client.address.api_key}"}
            connection.request("POST", "/mcp/orders", body, headers)
            assert connection.getresponse().status == 400


def test_a_tool_call_is_a_span_by_the_protocols_conventions(
    receiver: Receiver, tmp_path: Path, orders: str
) -> None:
    with started(tmp_path, orders) as gateway:
        for city in ("Oslo", "Oslo", "Atlantis"):
            Client(gateway).begin().call(city)
        Client(gateway).begin().call("Oslo", tool="nothing_such")
    first, again, wrong, unknown = receiver.spans
    facts = dict(first.attributes)
    assert (first.name, first.kind, first.status) == ("tools/call order", 3, 0)
    assert facts.pop("orchestrator.attempt") and facts.pop("server.port") == int(
        orders.split(":")[2].split("/", maxsplit=1)[0]
    )
    assert facts == {
        "mcp.method.name": "tools/call",
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": "order",
        "gen_ai.agent.id": "a",
        "server.address": "127.0.0.1",
        "orchestrator.mcp_server": "orders",
        "orchestrator.tenant": "local",
        "orchestrator.execution": "e",
        "orchestrator.replayed": False,
    }
    assert again.attributes["orchestrator.replayed"] is True
    assert [span.attributes["error.type"] for span in (wrong, unknown)] == ["tool_error", "tool_error"]
    points = receiver.metrics["mcp.client.operation.duration"]
    counts = {(p.attributes["gen_ai.tool.name"], p.attributes.get("error.type")): p.count for p in points}
    assert counts == {("order", None): 1, ("order", "tool_error"): 1, ("nothing_such", "tool_error"): 1}
    assert genai_conventions.unknown_names(receiver) == set()
    assert b"Oslo" not in b"".join(receiver.raw) and b"Atlantis" not in b"".join(receiver.raw)


def test_a_servers_trace_goes_on_from_the_call_and_a_fault_is_named(
    receiver: Receiver, tmp_path: Path
) -> None:
    with hostile(b"{}", "application/json", 500) as (url, seen), started(tmp_path, url) as gateway:
        Client(gateway).call("Oslo")
    (span,) = receiver.spans
    assert (span.status, span.attributes["error.type"]) == (2, "ServerFault")
    assert seen[0]["traceparent"].startswith(f"00-{span.trace}-{span.id}-0")
