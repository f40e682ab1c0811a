"""Two peers over one stream: whatever one of them sends, the other answers clearly, closes cleanly, and never hangs."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator_runtimes.codec import decode
from orchestrator_runtimes.connection import (
    BUSY,
    INVALID_PARAMS,
    INVALID_REQUEST,
    METHOD_NOT_FOUND,
    PARSE_ERROR,
    Connection,
    Handler,
)
from orchestrator_runtimes.errors import AgentError, ErrorCode
from orchestrator_runtimes.json_values import Json
from orchestrator_runtimes.messages import Cancel, Cancelled, Done, Shutdown

T = TypeVar("T")
LIMIT = 4_096


class Peers:
    """A connection under test and the raw stream that talks to it."""

    def __init__(
        self, connection: Connection, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.connection = connection
        self.reader = reader
        self.writer = writer

    async def say(self, *lines: bytes) -> None:
        for line in lines:
            self.writer.write(line)
        await self.writer.drain()

    async def hear(self) -> dict[str, object] | None:
        line = await asyncio.wait_for(self.reader.readline(), 5)
        return json.loads(line) if line else None


def with_peers(
    scenario: Callable[[Peers], Awaitable[T]], handlers: dict[str, Handler] | None = None, requests: int = 4
) -> T:
    async def run() -> T:
        made: asyncio.Future[tuple[Connection, asyncio.Task[None]]] = (
            asyncio.get_running_loop().create_future()
        )

        async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            connection = Connection(
                reader, writer, handlers=handlers or {"cancel": answer_cancel}, notifications={"event": ignore},
                message_bytes=LIMIT, requests=requests,
            )  # fmt: skip
            made.set_result((connection, asyncio.create_task(connection.serve())))

        server = await asyncio.start_server(accept, "127.0.0.1", 0, limit=LIMIT)
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname()[:2])
        connection, serving = await made
        try:
            return await asyncio.wait_for(scenario(Peers(connection, reader, writer)), 10)
        finally:
            writer.close()
            await connection.close()
            await asyncio.wait_for(serving, 5)
            server.close()

    return asyncio.run(run())


async def answer_cancel(params: Json) -> Cancelled:
    return Cancelled(known=decode(Cancel, params, "cancel").execution == "e1")


async def ignore(_params: Json) -> None:
    return None


def request(number: object, method: str = "cancel", params: object = None) -> bytes:
    message = {"jsonrpc": "2.0", "id": number, "method": method, "params": params or {"execution": "e1"}}
    return json.dumps(message).encode() + b"\n"


def error_code(answer: dict[str, Any] | None) -> object:
    assert answer is not None
    return answer["error"]["code"]


def test_a_request_is_answered_with_its_id() -> None:
    async def scenario(peers: Peers) -> None:
        await peers.say(request("a-name"), request(2))
        assert [await peers.hear(), await peers.hear()] == [
            {"jsonrpc": "2.0", "id": "a-name", "result": {"known": True}},
            {"jsonrpc": "2.0", "id": 2, "result": {"known": True}},
        ]

    with_peers(scenario)


@pytest.mark.parametrize(
    ("line", "code"),
    [
        (b"not json\n", PARSE_ERROR),
        (b"\n", PARSE_ERROR),
        (b"\xff\xff\n", PARSE_ERROR),
        (b'{"jsonrpc":"2.0","jsonrpc":"2.0"}\n', PARSE_ERROR),
        (b"[]\n", INVALID_REQUEST),
        (b'{"id":1,"method":"cancel"}\n', INVALID_REQUEST),
        (b'{"jsonrpc":"2.0","id":1,"method":5}\n', INVALID_REQUEST),
        (b'{"jsonrpc":"2.0","id":{},"method":"cancel"}\n', INVALID_REQUEST),
        (b'{"jsonrpc":"2.0","id":1.5,"method":"cancel"}\n', INVALID_REQUEST),
        (b'{"jsonrpc":"2.0","id":99,"result":{}}\n', INVALID_REQUEST),
        (request(1, "explode"), METHOD_NOT_FOUND),
        (request(1, "cancel", {"execution": 7}), INVALID_PARAMS),
        (b'{"jsonrpc":"2.0","id":1,"method":"cancel"}\n', INVALID_PARAMS),
    ],
)
def test_a_malformed_message_is_answered_and_the_next_one_works(line: bytes, code: int) -> None:
    async def scenario(peers: Peers) -> None:
        await peers.say(line)
        assert error_code(await peers.hear()) == code
        await peers.say(request(7))
        assert (await peers.hear() or {}).get("id") == 7

    with_peers(scenario)


def test_a_message_that_is_too_long_is_answered_and_the_connection_closes() -> None:
    async def scenario(peers: Peers) -> None:
        await peers.say(b'"' + b"x" * (3 * LIMIT))
        answer = await peers.hear()
        assert error_code(answer) == INVALID_REQUEST
        assert "longer than 4096 bytes" in str(answer)
        assert await peers.hear() is None

    with_peers(scenario)


def test_a_message_that_is_cut_off_is_never_acted_on() -> None:
    acted: list[Json] = []

    async def handler(params: Json) -> Done:
        acted.append(params)
        return Done()

    async def scenario(peers: Peers) -> None:
        await peers.say(request(1).rstrip(b"\n"))
        peers.writer.write_eof()
        assert await peers.hear() is None

    with_peers(scenario, {"cancel": handler})
    assert acted == []


def test_too_many_malformed_messages_close_the_connection() -> None:
    async def scenario(peers: Peers) -> None:
        await peers.say(*[b"no\n"] * 100)
        heard = 0
        while await peers.hear() is not None:
            heard += 1
        assert heard == 100

    with_peers(scenario)


def test_one_request_too_many_is_refused_as_busy_and_the_others_end() -> None:
    release = asyncio.Event()

    async def slow(_params: Json) -> Done:
        await release.wait()
        return Done()

    async def scenario(peers: Peers) -> None:
        await peers.say(*(request(n) for n in range(1, 6)))
        answer = await peers.hear()
        assert (error_code(answer), (answer or {})["id"]) == (BUSY, 5)
        release.set()
        assert sorted([str((await peers.hear() or {})["id"]) for _ in range(4)]) == ["1", "2", "3", "4"]

    with_peers(scenario, {"cancel": slow})


def test_an_id_that_is_in_use_is_refused() -> None:
    release = asyncio.Event()

    async def slow(_params: Json) -> Done:
        await release.wait()
        return Done()

    async def scenario(peers: Peers) -> None:
        await peers.say(request(1), request(1))
        assert error_code(await peers.hear()) == INVALID_REQUEST
        release.set()
        assert "result" in (await peers.hear() or {})

    with_peers(scenario, {"cancel": slow})


def test_a_handlers_fault_reaches_the_peer_and_ends_nothing() -> None:
    async def broken(_params: Json) -> Done:
        raise KeyError("oops")

    async def scenario(peers: Peers) -> None:
        await peers.say(request(1))
        answer = await peers.hear()
        assert "framework_error" in str(answer) and "KeyError" in str(answer)
        await peers.say(request(2))
        assert (await peers.hear() or {})["id"] == 2

    with_peers(scenario, {"cancel": broken})


@pytest.mark.parametrize(
    "answer",
    [
        b'{"jsonrpc":"2.0","id":1,"result":{"known":"yes"}}\n',
        b'{"jsonrpc":"2.0","id":1,"result":[]}\n',
        b'{"jsonrpc":"2.0","id":1,"error":"no"}\n',
        b'{"jsonrpc":"2.0","id":1,"error":{"code":1,"message":"m","data":{"code":"nonsense"}}}\n',
        b'{"jsonrpc":"2.0","id":1}\n',
    ],
)
def test_a_malformed_answer_is_an_error_not_a_hang(answer: bytes) -> None:
    async def scenario(peers: Peers) -> ErrorCode:
        call = asyncio.create_task(
            peers.connection.call("cancel", Cancel(execution="e"), Cancelled, timeout=5)
        )
        await peers.hear()
        await peers.say(answer)
        with pytest.raises(AgentError) as caught:
            await call
        return caught.value.code

    assert with_peers(scenario) is ErrorCode.RUNTIME_CRASHED


def test_no_answer_is_a_timeout_and_a_closed_stream_a_crash() -> None:
    async def scenario(peers: Peers) -> None:
        with pytest.raises(AgentError, match="timeout"):
            await peers.connection.call("cancel", Cancel(execution="e"), Cancelled, timeout=0.05)
        call = asyncio.create_task(peers.connection.call("shutdown", Shutdown(), Done, timeout=5))
        await peers.hear()
        peers.writer.close()
        with pytest.raises(AgentError, match="runtime_crashed"):
            await call
        with pytest.raises(AgentError, match="runtime_crashed"):
            await peers.connection.call("shutdown", Shutdown(), Done, timeout=5)

    with_peers(scenario)


def test_a_request_larger_than_the_peer_reads_is_not_sent() -> None:
    async def scenario(peers: Peers) -> None:
        with pytest.raises(AgentError, match="invalid_input"):
            await peers.connection.call("cancel", Cancel(execution="x" * LIMIT), Cancelled, timeout=5)

    with_peers(scenario)


def test_a_slow_reader_holds_the_writer_back() -> None:
    async def scenario(peers: Peers) -> int:
        sent = 0

        async def flood() -> None:
            nonlocal sent
            while True:
                await peers.connection.notify("event", Cancel(execution="x" * 1_000))
                sent += 1

        task = asyncio.create_task(flood())
        await asyncio.sleep(0.3)
        before = sent
        await asyncio.sleep(0.3)
        task.cancel()
        assert sent == before, "the writer went on although nobody reads"
        return sent

    assert with_peers(scenario) < 100_000


lines = st.one_of(
    st.binary(max_size=60),
    st.sampled_from(
        [
            request(1),
            request(2, "explode"),
            b'{"jsonrpc":"2.0","id":1,"result":{}}',
            b"[]",
            b'{"jsonrpc":"2.0"}',
        ]
    ),
    st.builds(request, st.integers() | st.text(max_size=5) | st.none(), st.text(max_size=10)).map(
        bytes.rstrip
    ),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(lines, max_size=15), st.binary(max_size=30))
def test_whatever_is_sent_a_good_request_afterwards_is_answered(garbage: list[bytes], tail: bytes) -> None:
    async def scenario(peers: Peers) -> None:
        await peers.say(
            *(line.replace(b"\n", b" ") + b"\n" for line in garbage), tail.replace(b"\n", b"") + b"\n"
        )
        await peers.say(request("the-good-one"))
        while True:
            answer = await peers.hear()
            assert answer is not None, "the connection closed"
            if answer.get("id") == "the-good-one":
                assert answer["result"] == {"known": True}
                return
            assert "error" in answer or answer["result"] == {"known": True}

    with_peers(scenario)


def test_what_was_said_last_is_sent_before_the_connection_closes() -> None:
    async def scenario(peers: Peers) -> list[object]:
        for number in range(3):
            peers.connection.post("event", Cancel(execution=f"e{number}"))
        await peers.connection.close()
        heard = [await peers.hear() for _ in range(4)]
        return [message and message["params"] for message in heard]

    told = [{"execution": f"e{number}"} for number in range(3)]
    assert with_peers(scenario) == [*told, None]


def test_a_sender_that_never_waits_is_held_back_by_a_reader_that_does_not_read() -> None:
    async def scenario(peers: Peers) -> list[int]:
        told = [0]

        async def tell() -> None:
            while True:
                await peers.connection.notify("event", Cancel(execution="e" * 1_000))
                told[0] += 1

        telling = asyncio.create_task(tell())
        counts: list[int] = []
        while len(counts) < 2 or counts[-1] != counts[-2]:
            await asyncio.sleep(0.2)
            counts.append(told[0])
        telling.cancel()
        return counts

    assert 0 < with_peers(scenario)[-1] < 100_000
