"""Peers of one major version work together: what a newer one adds, an older one ignores."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from orchestrator_runtimes.client import RuntimeClient
from orchestrator_runtimes.conformance.model_endpoint import ModelEndpoint
from orchestrator_runtimes.connection import METHOD_NOT_FOUND
from orchestrator_runtimes.errors import AgentError, ErrorCode
from orchestrator_runtimes.events import Event, Started, Token
from orchestrator_runtimes.messages import CONTRACT_VERSION, AgentSource, PortableAgent, Run, ToolSource
from tests.contract.guests import (
    KINDS,
    SOURCE,
    Kind,
    RawPeer,
    bounded,
    event_of,
    guest_that,
    marked,
    raw,
    result_of,
    serving,
)

NEWER_EVENTS = 250
"""More than the malformed messages that would close a connection."""


@pytest.mark.parametrize("kind", KINDS)
def test_a_newer_guest_may_tell_more_than_its_host_understands(tmp_path: Path, kind: Kind) -> None:
    refused: list[Mapping[str, Any]] = []

    async def talk(peer: RawPeer) -> None:
        load = await peer.hear()
        assert load is not None
        await peer.say(
            {"jsonrpc": "2.0", "id": load["id"], "result": {"agent": "a", "native_type": "T", "size": 1}}
        )
        run = await peer.hear()
        assert run is not None
        await peer.say({"jsonrpc": "2.0", "method": "weather", "params": {"sunny": True}})
        await peer.ask("ask", "secrets.get", {"name": "x"})
        refusal = await peer.hear()
        assert refusal is not None
        refused.append(refusal)
        await peer.say(event_of("e", {"kind": "started", "mood": "good"}))
        for number in range(NEWER_EVENTS):
            await peer.say(event_of("e", {"kind": "thought", "text": "hm", "depth": number}, number + 1))
        await peer.say({**event_of("e", {"kind": "token", "text": "t", "logprob": -1.5}), "priority": 1})
        answer = {**result_of("well"), "carbon": 0.1, "usage": {"input_tokens": 3, "joules": 5}}
        await peer.say({"jsonrpc": "2.0", "id": run["id"], "result": answer, "took": 1})
        rest = await peer.hear()
        assert rest is None, "the host complained about what it does not know"

    async def scenario() -> None:
        newer = {
            "contract": "1.9",
            "capabilities": {"run": {"supported": True}, "telepathy": {"supported": True, "range": "far"}},
            "colour": "blue",
        }
        async with guest_that(talk, tmp_path, kind, **newer) as address:
            client = await RuntimeClient.connect(address)
            assert client.runtime.contract == "1.9" and client.runtime.capabilities["telepathy"].supported
            loaded = await client.load(SOURCE)
            seen: list[Event] = []

            async def on_event(event: Event) -> None:
                seen.append(event)

            result = await client.run(Run(execution="e", agent=loaded.agent or ""), on_event)
            assert (result.output, result.usage.input_tokens) == ("well", 3)
            assert seen == [Started(), Token(text="t")]
            assert not client.closed
            await client.close()

    bounded(scenario)
    assert [refusal["error"]["code"] for refusal in refused] == [METHOD_NOT_FOUND]


@pytest.mark.parametrize("kind", KINDS)
def test_an_older_guest_may_leave_out_what_has_a_default(tmp_path: Path, kind: Kind) -> None:
    async def talk(peer: RawPeer) -> None:
        load = await peer.hear()
        assert load is not None
        await peer.say({"jsonrpc": "2.0", "id": load["id"], "result": {"agent": "a"}})
        run = await peer.hear()
        assert run is not None
        least: dict[str, Any] = {"output": None, "finish_reason": "completed", "usage": {}, "seconds": 1}
        await peer.say({"jsonrpc": "2.0", "id": run["id"], "result": least})
        await peer.hear()

    async def scenario() -> None:
        async with guest_that(talk, tmp_path, kind) as address:
            client = await RuntimeClient.connect(address)
            loaded = await client.load(SOURCE)
            result = await client.run(Run(execution="e", agent=loaded.agent or ""))
            assert (loaded.native_type, result.output, result.native, result.usage.model_calls) == (
                "",
                None,
                {},
                0,
            )
            await client.close()

    bounded(scenario)


@pytest.mark.parametrize("kind", KINDS)
def test_a_newer_host_may_ask_more_than_its_guest_understands(
    tmp_path: Path, endpoint: ModelEndpoint, kind: Kind
) -> None:
    async def scenario() -> None:
        async with serving(tmp_path, kind) as address:
            peer = await raw(address, initialize=False)
            await peer.ask(1, "initialize", {"contract": "1.7", "message_bytes": 10**6, "region": "eu"})
            answer = await peer.answer(1)
            assert answer is not None and answer["result"]["contract"] == CONTRACT_VERSION
            await peer.say({"jsonrpc": "2.0", "method": "prices", "params": {"per_token": 1}})
            await peer.ask(2, "explain", {})
            assert ((await peer.answer(2)) or {})["error"]["code"] == METHOD_NOT_FOUND
            portable = {"name": "a", "instructions": "i", "model": "m", "voice": "calm"}
            await peer.ask(3, "load", {"source": {"portable": portable, "labels": []}, "signature": "s"})
            loaded = await peer.answer(3)
            assert loaded is not None
            run = {
                "execution": "EXEC-1", "agent": loaded["result"]["agent"], "inputs": "EXEC-1: hi", "priority": 9,
                "limits": {"seconds": 20, "joules": 5},
                "model": {"base_url": marked(endpoint).base_url, "region": "eu"},
            }  # fmt: skip
            await peer.ask(4, "run", run)
            result = await peer.answer(4)
            assert result is not None and "EXEC-1" in result["result"]["output"]
            await peer.close()

    bounded(scenario)


def test_a_guest_of_another_major_version_is_refused_by_name(tmp_path: Path) -> None:
    async def talk(peer: RawPeer) -> None:
        await peer.hear()

    async def scenario() -> None:
        async with guest_that(talk, tmp_path, contract="2.0") as address:
            with pytest.raises(AgentError, match=r"speaks contract '2\.0', this side 1\.\d") as caught:
                await RuntimeClient.connect(address)
            assert caught.value.code is ErrorCode.RUNTIME_CRASHED

    bounded(scenario)


def test_an_older_guest_is_not_given_tools_that_it_would_run_unasked(tmp_path: Path) -> None:
    async def talk(peer: RawPeer) -> None:
        assert await peer.hear() is None, "nothing is sent"

    async def scenario() -> None:
        async with guest_that(talk, tmp_path, contract="1.0") as address:
            client = await RuntimeClient.connect(address)
            tools = (ToolSource(function="t:f", approval=True),)
            agent = PortableAgent(name="a", instructions="i", model="m", tools=tools)
            with pytest.raises(AgentError, match=r"contract '1\.0' and would run tools .* needs 1\.1"):
                await client.load(AgentSource(portable=agent))
            await client.close()

    bounded(scenario)
