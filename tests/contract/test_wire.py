"""Whatever one side sends, the other answers clearly or closes, soon, and every other execution gets its own answer."""

import asyncio
import contextlib
import json
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestrator_runtimes import client as client_module
from orchestrator_runtimes.client import RuntimeClient
from orchestrator_runtimes.conformance.model_endpoint import ModelEndpoint
from orchestrator_runtimes.errors import AgentError, ErrorCode
from orchestrator_runtimes.events import Event, Message
from orchestrator_runtimes.messages import MESSAGE_BYTES, Limits, Result, Run
from tests.contract.guests import (
    KINDS,
    SECONDS,
    SOURCE,
    Kind,
    RawPeer,
    bounded,
    event_of,
    guest_that,
    joined,
    marked,
    raw,
    result_of,
    run_marked,
    serving,
)

FUZZ = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)  # fmt: skip

ODD_IDS: list[Any] = ["", "x" * 200, "\ud800", 2**70, 1.5, True, None, [], {}]
ids = st.one_of(st.integers(-1, 4), st.sampled_from(ODD_IDS), st.text(max_size=4))
odd: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**30), 10**30)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8)
    | st.sampled_from(["EXEC-1", "EXEC-2", "\ud83d", "0" * 64]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["execution", "agent", "source", "portable", "limits", "event", "kind", "session", "decision"]
            )
            | st.text(max_size=4),
            inner,
            max_size=4,
        )
    ),
    max_leaves=6,
)
methods = st.sampled_from(
    ["load", "run", "resume", "cancel", "initialize", "event", "state.get", "state.put", "step.lookup", "explode", ""]
)  # fmt: skip
version = st.just("2.0")
messages = st.one_of(
    st.fixed_dictionaries({"jsonrpc": version, "id": ids, "method": methods, "params": odd}),
    st.fixed_dictionaries({"jsonrpc": version, "method": methods, "params": odd}),
    st.fixed_dictionaries({"jsonrpc": version, "id": ids, "result": odd}),
    st.fixed_dictionaries({"jsonrpc": version, "id": ids, "error": odd}),
    st.builds(event_of, st.just("EXEC-1"), odd),
    odd,
)
lines = st.one_of(
    messages.map(lambda message: joined([message])),
    st.binary(max_size=40).map(lambda data: data.replace(b"\n", b"") + b"\n"),
    st.sampled_from(
        [
            b"\xff\xfe\n",
            b"[" * 3_000 + b"\n",
            b'{"a":' * 900 + b"1" + b"}" * 900 + b"\n",
            b'{"jsonrpc":"2.0","id":' + b"9" * 4_400 + b',"method":"cancel"}\n',
            b'{"jsonrpc":"2.0","id":1e999,"method":"cancel"}\n',
            b'{"jsonrpc":"2.0","id":1,"id":2,"method":"cancel"}\n',
            b"\n",
            b"\0" * 100 + b"\n",
        ]
    ),
)
cuts = st.lists(st.integers(0, 400), max_size=3)


async def say_in_pieces(peer: RawPeer, data: bytes, at: list[int]) -> None:
    """Send bytes with pauses of one turn of the loop at some places, so that messages arrive in pieces."""
    begin = 0
    for end in [*sorted(at), len(data)]:
        await peer.say(data[begin:end])
        await asyncio.sleep(0)
        begin = max(begin, end)


@pytest.mark.parametrize("kind", KINDS)
@FUZZ
@given(attack=st.lists(lines, max_size=12), at=cuts, initialize=st.booleans(), tail=st.binary(max_size=20))
def test_a_hostile_host_gets_answers_and_harms_nobody(
    tmp_path: Path, endpoint: ModelEndpoint, kind: Kind, attack: list[bytes], at: list[int], initialize: bool,
    tail: bytes,
) -> None:  # fmt: skip
    async def scenario() -> None:
        async with serving(tmp_path, kind) as address:
            well = await RuntimeClient.connect(address)
            running = asyncio.create_task(run_marked(well, marked(endpoint, latency=0.01), "EXEC-1"))
            peer = await raw(address, initialize=initialize)
            await say_in_pieces(peer, b"".join(attack), at)
            await peer.ask("the-last", "cancel", {"execution": "nobody"})
            answer = await peer.answer("the-last")
            assert answer is not None, "the connection closed"
            assert answer.get("result") == {"known": False} or "before 'initialize'" in str(answer)
            await peer.say(tail.replace(b"\n", b""))  # a message that is cut off
            await peer.close()
            await running
            await run_marked(well, marked(endpoint), "EXEC-2")
            await well.close()

    bounded(scenario)


@pytest.mark.parametrize("kind", KINDS)
@FUZZ
@given(attack=st.lists(lines, max_size=12), at=cuts, close=st.booleans())
def test_a_hostile_guest_is_an_error_and_never_an_answer(
    tmp_path: Path, endpoint: ModelEndpoint, kind: Kind, attack: list[bytes], at: list[int], close: bool
) -> None:
    async def talk(peer: RawPeer) -> None:
        request = await peer.hear()
        assert request is not None and request["method"] == "run"
        own = request["id"]
        data = b"".join(line for line in attack if not _answers(line, own))
        await say_in_pieces(peer, data, at)
        while not close and await peer.hear() is not None:
            pass

    async def scenario() -> None:
        (tmp_path / "odd").mkdir(exist_ok=True)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(client_module, "ANSWER_GRACE_SECONDS", 0.1)
            async with serving(tmp_path, kind) as good, guest_that(talk, tmp_path / "odd", kind) as bad:
                well, victim = await asyncio.gather(RuntimeClient.connect(good), RuntimeClient.connect(bad))
                running = asyncio.create_task(run_marked(well, marked(endpoint, latency=0.01), "EXEC-1"))
                with pytest.raises(AgentError):
                    await victim.run(Run(execution="EXEC-1", agent="a", limits=Limits(seconds=0.1)))
                await running
                await victim.close()
                await well.close()

    bounded(scenario)


def _answers(line: bytes, number: int) -> bool:
    """True when a line is a good answer to the request: what the client must take."""
    with contextlib.suppress(ValueError, RecursionError):
        message = json.loads(line)
        if isinstance(message, dict):
            answer = cast("dict[str, Any]", message)
            return "method" not in answer and bool(answer.get("id") == number)
    return False


@pytest.mark.parametrize("kind", KINDS)
def test_answers_out_of_order_reach_their_own_executions(tmp_path: Path, kind: Kind) -> None:
    async def talk(peer: RawPeer) -> None:
        requests = [await peer.hear() for _ in range(20)]
        told: list[object] = []
        for request in reversed(requests):
            assert request is not None
            name = request["params"]["execution"]
            own = {"jsonrpc": "2.0", "id": request["id"], "result": result_of(f"answer of {name}")}
            foreign = {"jsonrpc": "2.0", "id": request["id"] + 1_000, "result": result_of("of nobody")}
            told += [event_of(name, {"kind": "message", "text": name}), foreign, own, own]
        await peer.say(joined(told))
        await asyncio.sleep(SECONDS)

    async def scenario() -> None:
        async with guest_that(talk, tmp_path, kind) as address:
            client = await RuntimeClient.connect(address)
            seen: dict[str, list[Event]] = {}

            async def one(name: str) -> Result:
                seen[name] = []

                async def on_event(event: Event) -> None:
                    seen[name].append(event)

                return await client.run(Run(execution=name, agent="a"), on_event)

            names = [f"EXEC-{number}" for number in range(20)]
            results = await asyncio.gather(*map(one, names))
            assert [result.output for result in results] == [f"answer of {name}" for name in names]
            assert seen == {name: [Message(text=name)] for name in names}
            await client.close()

    bounded(scenario)


@pytest.mark.parametrize("kind", KINDS)
def test_a_message_that_is_too_long_ends_its_connection_only(
    tmp_path: Path, endpoint: ModelEndpoint, kind: Kind
) -> None:
    async def scenario() -> None:
        async with serving(tmp_path, kind) as address:
            well, peer = await RuntimeClient.connect(address), await raw(address)
            running = asyncio.create_task(run_marked(well, marked(endpoint, latency=0.3), "EXEC-1"))
            with contextlib.suppress(OSError):
                await peer.say(b'"' + b"x" * (MESSAGE_BYTES + 2**20))
            answers: list[dict[str, Any]] = []
            with contextlib.suppress(OSError):
                while (answer := await peer.hear()) is not None:
                    answers.append(answer)
            assert all("longer than" in str(answer) for answer in answers) and len(answers) <= 1
            await running
            await well.close()
            await peer.close()

    bounded(scenario)


@pytest.mark.parametrize("kind", KINDS)
def test_a_flood_of_nonsense_closes_its_connection_cleanly(
    tmp_path: Path, endpoint: ModelEndpoint, kind: Kind
) -> None:
    async def scenario() -> None:
        async with serving(tmp_path, kind) as address:
            well, peer = await RuntimeClient.connect(address), await raw(address)
            with contextlib.suppress(OSError):
                for _ in range(200):
                    await peer.say(b"nonsense\n" * 500)
            heard = 0
            with contextlib.suppress(OSError):
                while await peer.hear() is not None:
                    heard += 1
            assert heard <= 100
            await run_marked(well, marked(endpoint), "EXEC-1")
            await well.close()
            await peer.close()

    bounded(scenario)


def test_an_event_handler_that_raises_ends_its_own_execution_only(
    tmp_path: Path, endpoint: ModelEndpoint
) -> None:
    async def broken(_event: Event) -> None:
        raise LookupError("no such row")

    async def scenario() -> None:
        async with serving(tmp_path) as address:
            client = await RuntimeClient.connect(address)
            slow = marked(endpoint, latency=0.5)
            running = asyncio.create_task(run_marked(client, slow, "EXEC-1"))
            loaded = await client.load(SOURCE)
            with pytest.raises(LookupError, match="no such row"):
                await client.run(
                    Run(execution="EXEC-2", agent=loaded.agent or "", inputs="x", model=slow), broken
                )
            await running
            assert client.running == 0 and not client.closed
            await client.close()

    bounded(scenario)


def test_one_execution_cannot_run_twice_at_once(tmp_path: Path, endpoint: ModelEndpoint) -> None:
    async def scenario() -> None:
        async with serving(tmp_path) as address:
            one, two = await RuntimeClient.connect(address), await RuntimeClient.connect(address)
            running = asyncio.create_task(run_marked(one, marked(endpoint, latency=1.0), "EXEC-77"))
            while not any(call.execution == "EXEC-77" for call in endpoint.calls):
                await asyncio.sleep(0.01)
            for client in (one, two):
                with pytest.raises(AgentError, match="running already"):
                    await run_marked(client, marked(endpoint), "EXEC-77")
            await running
            await one.close()
            await two.close()

    bounded(scenario)


def test_what_is_no_json_is_refused_before_it_is_sent(tmp_path: Path, endpoint: ModelEndpoint) -> None:
    nested: list[Any] = []
    for _ in range(5_000):
        nested = [nested]

    async def scenario() -> None:
        async with serving(tmp_path) as address:
            client = await RuntimeClient.connect(address)
            for inputs in (object(), float("nan"), nested):
                with pytest.raises(AgentError) as caught:
                    await client.run(Run(execution="e", agent="a", inputs=inputs))  # type: ignore[arg-type]
                assert caught.value.code is ErrorCode.INVALID_INPUT
            await run_marked(client, marked(endpoint), "EXEC-1")
            await client.close()

    bounded(scenario)


@pytest.mark.parametrize("address", ["unix:/nowhere/s", "tcp:127.0.0.1:9"])
def test_a_guest_that_does_not_listen_is_named(address: str) -> None:
    async def scenario() -> None:
        with pytest.raises(AgentError, match="no runtime listens") as caught:
            await RuntimeClient.connect(address, timeout=0.2)
        assert caught.value.code is ErrorCode.RUNTIME_CRASHED

    bounded(scenario)


def test_an_address_that_cannot_be_reached_is_named(tmp_path: Path) -> None:
    async def scenario() -> None:
        with pytest.raises(AgentError, match="no runtime can be reached") as caught:
            await RuntimeClient.connect(f"unix:{tmp_path / ('x' * 200)}", timeout=5)
        assert caught.value.code is ErrorCode.RUNTIME_CRASHED

    bounded(scenario)
