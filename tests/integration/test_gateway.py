"""The gateway's process, as a guest and the trusted side see it: what was answered is not asked again."""

import asyncio
import http.client
import json
import os
import signal
import threading
import time
import urllib.parse
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from orchestrator_resources.gateway import LocalGateway
from orchestrator_runtimes.conformance.model_endpoint import ModelEndpoint
from orchestrator_runtimes.conformance.scripts import Fault, FaultKind, Script
from orchestrator_runtimes.errors import AgentError, ErrorCode
from orchestrator_runtimes.json_values import Json
from orchestrator_runtimes.messages import ModelAddress
from tests.integration.gateway_calls import ask, send
from tests.integration.local_gateways import local_gateway
from tests.integration.processes import alive, wait_until


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "calls.db"


@pytest.fixture
def upstream(endpoint: ModelEndpoint) -> ModelEndpoint:
    endpoint.reset()
    return endpoint


@pytest.fixture
def gateway(state: Path, upstream: ModelEndpoint) -> Iterator[LocalGateway]:
    with local_gateway(state, upstream.base_url) as running:
        yield running


def attempt(
    gateway: LocalGateway, execution: str = "e", agent: str = "a", inputs: Json = "hi"
) -> ModelAddress:
    return gateway.model(execution=execution, agent=agent, inputs=inputs, seconds=60)


@pytest.mark.parametrize("stream", [False, True])
def test_a_retry_gets_the_same_bytes_and_the_upstream_no_second_call(
    gateway: LocalGateway, state: Path, upstream: ModelEndpoint, *, stream: bool
) -> None:
    first = ask(attempt(gateway), "hi", stream=stream)
    assert first.status == 200 and not first.replayed and upstream.count == 1
    again = ask(attempt(gateway), "hi", stream=stream)
    assert again.body == first.body and again.headers["content-type"] == first.headers["content-type"]
    with local_gateway(state, upstream.base_url) as other:
        assert ask(attempt(other), "hi", stream=stream).body == first.body
    assert upstream.count == 1


def test_equal_calls_of_one_try_are_different_calls_also_at_once(
    gateway: LocalGateway, upstream: ModelEndpoint
) -> None:
    for _ in range(2):
        address = attempt(gateway)
        with ThreadPoolExecutor(8) as threads:
            answers = list(threads.map(ask, [address] * 8, ["hi"] * 8))
        assert {answer.status for answer in answers} == {200}
        assert upstream.count == 8


def test_another_agent_execution_or_prompt_never_gets_an_old_answer(
    gateway: LocalGateway, upstream: ModelEndpoint
) -> None:
    ask(attempt(gateway), "hi")
    for address in (attempt(gateway, agent="b"), attempt(gateway, execution="f")):
        assert not ask(address, "hi").replayed
    assert not ask(attempt(gateway), "ho").replayed
    assert not ask(attempt(gateway), "hi", temperature=1).replayed
    assert upstream.count == 5


def test_what_the_guest_made_up_does_not_count_and_what_it_was_given_does(
    gateway: LocalGateway, upstream: ModelEndpoint
) -> None:
    one, other = "6e0b5f0a-1c1d-4f7e-8a70-5b3b6e5f1a11", "9d3c2b1a-aaaa-4bbb-8ccc-123456789abc"
    ask(attempt(gateway, inputs=[one, other]), f"At 2026-01-01T10:00:00 review {one}")
    again = attempt(gateway, inputs=[one, other])
    assert not ask(again, f"At 2026-01-02T11:11:11 review {other}").replayed
    assert ask(again, f"At 2026-01-02T11:11:11 review {one}").replayed
    assert upstream.count == 2


def test_of_inputs_with_too_many_names_to_tell_none_is_mistaken_for_another(
    gateway: LocalGateway, upstream: ModelEndpoint
) -> None:
    names = [f"{n:08d}" for n in range(10_000_000, 10_001_000)]
    ask(attempt(gateway, inputs=names), f"review {names[0]}")
    again = attempt(gateway, inputs=names)
    assert not ask(again, f"review {names[999]}").replayed
    assert ask(again, f"review {names[0]}").replayed
    assert upstream.count == 2


def test_numbers_of_vectors_are_no_words_of_later_requests(gateway: LocalGateway) -> None:
    assert send(attempt(gateway), b'{"model": "m", "input": ["x"]}', path="/embeddings").status == 200
    ask(attempt(gateway), "at 2026-01-01T10:00:00")
    assert ask(attempt(gateway), "at 2026-01-02T11:11:11").replayed


def test_after_an_answer_with_too_many_names_to_tell_none_is_mistaken_for_another(
    state: Path, upstream: ModelEndpoint
) -> None:
    many = " ".join(f"{n:08d}" for n in range(2_000))
    with local_gateway(state, upstream.script("many", Script(text=many))) as gateway:
        ask(attempt(gateway), "at 2026-01-01T10:00:00")
        assert not ask(attempt(gateway), "at 2026-01-02T11:11:11").replayed


def test_a_guest_that_goes_away_has_its_answer_when_it_comes_back(
    state: Path, upstream: ModelEndpoint
) -> None:
    slow = upstream.script("slow", Script(latency=1.0))
    with local_gateway(state, slow) as patient:
        address = attempt(patient)
        base = urllib.parse.urlsplit(address.base_url)
        connection = http.client.HTTPConnection(str(base.hostname), base.port)
        body = json.dumps({"model": "m", "messages": [{"role": "user", "content": "hi"}]})
        headers = {"authorization": f"Bearer {address.api_key}", "content-type": "application/json"}
        connection.request("POST", base.path + "/chat/completions", body, headers)
        wait_until(lambda: upstream.count == 1, "the call is on its way")
        connection.close()
        assert ask(attempt(patient), "hi").replayed, "on its way still, and waited for"
        assert upstream.count == 1


def test_let_go_it_records_what_is_on_its_way(state: Path, upstream: ModelEndpoint) -> None:
    slow = upstream.script("slow", Script(latency=1.0))
    with local_gateway(state, slow) as gateway:
        address = attempt(gateway)
        asking = threading.Thread(target=lambda: ask(address, "hi"))
        asking.start()
        wait_until(lambda: upstream.count == 1, "the call is on its way")
    asking.join()
    with local_gateway(state, slow) as gateway:
        assert ask(attempt(gateway), "hi").replayed


def test_a_call_that_one_gateway_still_makes_another_waits_for(state: Path, upstream: ModelEndpoint) -> None:
    slow = upstream.script("slow", Script(latency=3.0))
    with (
        local_gateway(state, slow) as next_one,
        local_gateway(state, slow) as gateway,
        ThreadPoolExecutor(1) as threads,
    ):
        address, again = attempt(gateway), attempt(next_one)
        told = threads.submit(ask, address, "hi")
        wait_until(lambda: upstream.count == 1, "the call is on its way")
        gateway.close()
        answer = ask(again, "hi")
        assert answer.replayed and answer.body == told.result().body and upstream.count == 1


def test_a_call_of_a_gateway_that_was_killed_is_made_anew(state: Path, upstream: ModelEndpoint) -> None:
    slow = upstream.script("slow", Script(latency=1.0))
    with (
        local_gateway(state, slow) as next_one,
        local_gateway(state, slow) as gateway,
        ThreadPoolExecutor(1) as threads,
    ):
        told = threads.submit(ask, attempt(gateway), "hi")
        wait_until(lambda: upstream.count == 1, "the call is on its way")
        os.kill(gateway.pid, signal.SIGKILL)
        assert isinstance(told.exception(), (OSError, http.client.HTTPException))
        wait_until(lambda: not gateway.running, "it is killed")
        assert ask(attempt(next_one), "hi").status == 200 and upstream.count == 2
        assert ask(attempt(next_one), "hi").replayed and upstream.count == 2


def test_a_try_goes_on_where_it_was_with_another_gateway(state: Path, upstream: ModelEndpoint) -> None:
    with local_gateway(state, upstream.base_url) as gateway:
        address = attempt(gateway)
        assert {ask(address, "hi").status for _ in range(2)} == {200} and upstream.count == 2
        again = attempt(gateway)
        assert ask(again, "hi").replayed
        os.kill(gateway.pid, signal.SIGKILL)
        wait_until(lambda: not gateway.running, "it is killed")
        gateway.ready()
        moved = ModelAddress(base_url=attempt(gateway).base_url, api_key=again.api_key)
        assert [ask(moved, "hi").replayed for _ in range(3)] == [True, False, False]
        assert upstream.count == 4


def test_killed_it_has_lost_nothing_that_was_told(state: Path, upstream: ModelEndpoint) -> None:
    gateway = LocalGateway(state, ModelAddress(base_url=upstream.base_url))
    gateway.ready()
    told = [ask(attempt(gateway), f"question {n}") for n in range(20)]
    os.kill(gateway.pid, signal.SIGKILL)
    gateway.close()
    with local_gateway(state, upstream.base_url) as next_one:
        again = [ask(attempt(next_one), f"question {n}") for n in range(20)]
    assert [answer.body for answer in again] == [answer.body for answer in told]
    assert upstream.count == 20


def test_killed_while_it_starts_it_is_started_again(state: Path, upstream: ModelEndpoint) -> None:
    starting = LocalGateway(state, ModelAddress(base_url=upstream.base_url))
    try:
        os.kill(starting.pid, signal.SIGKILL)
        starting.ready()
        assert starting.running and starting.starts == 2
    finally:
        starting.close()


def test_one_that_cannot_start_says_why_at_once(state: Path, upstream: ModelEndpoint) -> None:
    broken = LocalGateway(
        state, ModelAddress(base_url=upstream.base_url), prices=state.with_name("no-prices.yaml")
    )
    try:
        with pytest.raises(AgentError, match="ended at its start: 1") as caught:
            broken.ready()
        assert "no-prices.yaml" in str(caught.value.cause) and broken.starts == 1
    finally:
        broken.close()


def test_killed_it_is_started_again_with_its_journal(gateway: LocalGateway, upstream: ModelEndpoint) -> None:
    told = ask(attempt(gateway), "hi")
    os.kill(gateway.pid, signal.SIGKILL)
    wait_until(lambda: not gateway.running, "it is killed")
    gateway.ready()
    assert ask(attempt(gateway), "hi").body == told.body and upstream.count == 1


@pytest.mark.parametrize(
    ("fault", "calls", "status"),
    [
        (Fault(kind=FaultKind.STATUS, status=503, first=2), 3, 200),
        (Fault(kind=FaultKind.STATUS, status=429, retry_after=1, first=1), 2, 200),
        (Fault(kind=FaultKind.DISCONNECT, first=1), 2, 200),
        (Fault(kind=FaultKind.TRUNCATED_STREAM, first=1), 2, 200),
        (Fault(kind=FaultKind.STATUS, status=500), 4, 500),
        (Fault(kind=FaultKind.STATUS, status=401), 1, 401),
        (Fault(kind=FaultKind.DISCONNECT), 4, 502),
    ],
    ids=[
        "busy twice",
        "rate limited",
        "cut off once",
        "cut off in the body",
        "broken",
        "no key",
        "always cut off",
    ],
)
def test_an_upstreams_fault_is_tried_again_in_one_place(
    state: Path, upstream: ModelEndpoint, fault: Fault, calls: int, status: int
) -> None:
    with local_gateway(state, upstream.script("faulty", Script(faults=(fault,)))) as gateway:
        answer = ask(attempt(gateway), "hi")
        assert (answer.status, upstream.count) == (status, calls)
        if status != 200:
            assert json.loads(answer.body)["error"]["message"]


UNUSABLE = (FaultKind.HTML, FaultKind.TRUNCATED_JSON, FaultKind.NO_CHOICES, FaultKind.EMPTY_CONTENT)


@pytest.mark.parametrize(
    ("kind", "stream"),
    [*((kind, stream) for kind in UNUSABLE for stream in (False, True)), (FaultKind.TRUNCATED_STREAM, True)],
)
def test_an_answer_that_cannot_be_used_is_passed_on_and_not_kept(
    state: Path, upstream: ModelEndpoint, kind: FaultKind, *, stream: bool
) -> None:
    script = Script(faults=(Fault(kind=kind, first=1),))
    with local_gateway(state, upstream.script("faulty", script)) as gateway:
        ask(attempt(gateway), "hi", stream=stream)
        good = ask(attempt(gateway), "hi", stream=stream)
        assert good.status == 200 and not good.replayed
        assert ask(attempt(gateway), "hi", stream=stream).body == good.body
        assert upstream.count == 2


def test_the_upstream_gets_its_key_and_not_the_guests_token(state: Path) -> None:
    seen: list[str] = []

    async def upstream() -> None:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
            seen.append(head)
            body = b'{"choices": [{"message": {"content": "ok"}}]}'
            writer.write(
                b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(body)
                + body
            )
            await writer.drain()
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        async with server:

            def work() -> None:
                with local_gateway(state, f"http://127.0.0.1:{port}/v1", key="the-operators") as gateway:
                    address = attempt(gateway)
                    assert ask(address, "hi").status == 200
                    assert str(address.api_key) not in seen[0]

            await asyncio.to_thread(work)

    asyncio.run(upstream())
    (head,) = seen
    assert "authorization: bearer the-operators" in head and "host: 127.0.0.1" in head
    assert "x-orchestrator-execution: e\r\n" in head, "as the token says; the guest sent none"


@pytest.mark.parametrize(
    ("token", "body", "path", "method", "status"),
    [
        ("stolen", b"{}", "/chat/completions", "POST", 401),
        (None, b"{", "/chat/completions", "POST", 400),
        (None, b"\xff\xfe", "/chat/completions", "POST", 400),
        (None, b"{}", "/files", "POST", 404),
        (None, b"{}", "/../admin/forget", "POST", 404),
        (None, b"", "/chat/completions", "GET", 405),
        (None, b"[" * 100_000, "/chat/completions", "POST", 400),
    ],
    ids=["foreign token", "no JSON", "no text", "unknown path", "path outside", "method", "deep"],
)
def test_what_a_hostile_guest_sends_is_refused_and_others_are_served(
    gateway: LocalGateway, token: str | None, body: bytes, path: str, method: str, status: int
) -> None:
    address = attempt(gateway)
    hostile = ModelAddress(base_url=address.base_url, api_key=token or address.api_key)
    assert send(hostile, body, path=path, method=method).status == status
    assert ask(address, "hi").status == 200


def test_a_guests_token_does_not_open_what_is_the_trusted_sides(gateway: LocalGateway) -> None:
    address = attempt(gateway)
    admin = ModelAddress(base_url=address.base_url.removesuffix("/v1"), api_key=address.api_key)
    assert send(admin, b'{"tenant": "local", "executions": ["e"]}', path="/admin/forget").status == 401


def test_a_token_is_worth_nothing_when_its_time_is_over(gateway: LocalGateway) -> None:
    old = gateway.model(execution="e", agent="a", inputs=None, seconds=-120)
    answer = ask(old, "hi")
    assert answer.status == 401 and "expired" in json.loads(answer.body)["error"]["message"]


def test_models_are_those_of_the_upstream(gateway: LocalGateway) -> None:
    answer = send(attempt(gateway), b"", path="/models", method="GET")
    assert answer.status == 200 and "data" in json.loads(answer.body)


def test_forgotten_executions_are_asked_again(gateway: LocalGateway, upstream: ModelEndpoint) -> None:
    ask(attempt(gateway), "hi")
    gateway.forget(["e"])
    assert not ask(attempt(gateway), "hi").replayed
    assert upstream.count == 2


def test_two_hundred_at_once_are_each_answered_with_their_own(
    gateway: LocalGateway, upstream: ModelEndpoint
) -> None:
    addresses = [attempt(gateway, execution=f"EXEC-{n}") for n in range(200)]

    def work(n: int) -> str:
        return ask(addresses[n], f"EXEC-{n}").body.decode()

    with ThreadPoolExecutor(50) as threads:
        bodies = list(threads.map(work, range(200)))
    assert upstream.count == 200 and len(set(bodies)) == 200


def test_where_it_cannot_write_it_says_so_and_goes_on(state: Path, upstream: ModelEndpoint) -> None:
    state.write_bytes(b"no database" * 1000)
    gateway = LocalGateway(state, ModelAddress(base_url=upstream.base_url))
    with pytest.raises(AgentError, match="ended at its start") as caught:
        gateway.ready()
    assert caught.value.code is ErrorCode.MODEL_UNAVAILABLE and "calls.db" in str(caught.value.cause)
    gateway.close()


def test_it_ends_with_the_process_that_started_it(gateway: LocalGateway) -> None:
    pid = gateway.pid
    began = time.monotonic()
    gateway.close()  # as the system closes its input when that process is killed
    wait_until(lambda: not alive(pid), "it ends")
    assert time.monotonic() - began < 10


@pytest.mark.parametrize("ready", [False, True], ids=["while it starts", "when it serves"])
def test_an_idle_gateway_has_ended_when_it_is_closed(
    state: Path, upstream: ModelEndpoint, ready: bool
) -> None:
    gateway = LocalGateway(state, ModelAddress(base_url=upstream.base_url))
    if ready:
        gateway.ready()
    gateway.close()
    assert not gateway.running
