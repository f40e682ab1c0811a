"""Who does not read is not written to: the guest waits, and its memory stays small."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from orchestrator_runtimes.adapter import Outcome
from orchestrator_runtimes.client import RuntimeClient
from orchestrator_runtimes.conformance.fake import FakeAdapter
from orchestrator_runtimes.events import Event, Token
from orchestrator_runtimes.execution import Execution
from orchestrator_runtimes.messages import MESSAGE_BYTES, Run
from tests.contract.guests import KINDS, SOURCE, Kind, bounded, raw, serving

EVENTS = 20_000
TEXT = "x" * 1_000


class Flooding(FakeAdapter):
    """Tells as much as it may, from the loop or from a thread."""

    def __init__(self, *, in_thread: bool = False, text: str = TEXT) -> None:
        self.told = 0
        self.ended = asyncio.Event()
        self._in_thread = in_thread
        self._text = text

    async def run(self, agent: Any, execution: Execution) -> Outcome:
        """Flood."""
        try:
            if self._in_thread:
                await asyncio.to_thread(self._flood, execution)
            for _ in range(0 if self._in_thread else EVENTS):
                await execution.emit(Token(text=self._text))
                self.told += 1
            return Outcome(output="told")
        finally:
            self.ended.set()

    def _flood(self, execution: Execution) -> None:
        for _ in range(EVENTS // 20):
            execution.emit_from_thread(Token(text=TEXT * 20))
            self.told += 1

    async def stalled(self) -> int:
        """Return how much was told when nothing more is."""
        before = -1
        while self.told != before or self.told == 0:
            before = self.told
            await asyncio.sleep(0.3)
        return before


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("in_thread", [False, True], ids=["loop", "thread"])
def test_a_guest_waits_for_a_host_that_does_not_read(tmp_path: Path, kind: Kind, in_thread: bool) -> None:
    async def scenario() -> None:
        adapter = Flooding(in_thread=in_thread)
        total = EVENTS // 20 if in_thread else EVENTS
        async with serving(tmp_path, kind, adapter) as address:
            client = await RuntimeClient.connect(address)
            agent = (await client.load(SOURCE)).agent
            await client.close()
            peer = await raw(address)
            peer.writer.transport.pause_reading()  # type: ignore[attr-defined]  # a stream's transport can
            await peer.ask(1, "run", {"execution": "e", "agent": agent})
            assert await adapter.stalled() < total, "it went on although nobody reads"
            peer.writer.transport.resume_reading()  # type: ignore[attr-defined]  # as above
            sequences: list[int] = []
            while (message := await peer.hear()) is not None and "method" in message:
                sequences.append(message["params"]["sequence"])
            assert message is not None and message["result"]["output"] == "told"
            assert sequences == list(range(total + 2)), "started, every token, finished"
            await peer.close()

    bounded(scenario)


def test_a_slow_event_handler_holds_the_guest_back(tmp_path: Path) -> None:
    async def scenario() -> None:
        # the client's stream takes up to twice the longest message before the guest must wait
        adapter, gate = Flooding(text="x" * (4 * MESSAGE_BYTES // EVENTS)), asyncio.Event()
        seen = 0

        async def slow(event: Event) -> None:
            nonlocal seen
            await gate.wait()
            seen += isinstance(event, Token)

        async with serving(tmp_path, adapter=adapter) as address:
            client = await RuntimeClient.connect(address)
            agent = (await client.load(SOURCE)).agent or ""
            running = asyncio.create_task(client.run(Run(execution="e", agent=agent), slow))
            assert await adapter.stalled() < EVENTS, "it went on although nobody takes its events"
            gate.set()
            assert (await running).output == "told"
            assert seen == EVENTS
            await client.close()

    bounded(scenario)


class Working(Flooding):
    """Floods in one execution, and works without a word in the other."""

    worked = 0

    async def run(self, agent: Any, execution: Execution) -> Outcome:
        """Flood or work."""
        if execution.run.execution == "flood":
            return await super().run(agent, execution)
        while True:
            execution.begin_model_call()
            self.worked += 1
            await asyncio.sleep(0.01)


def test_an_execution_whose_host_went_away_before_its_first_event_was_taken_ends(tmp_path: Path) -> None:
    async def scenario() -> None:
        adapter = Working()
        async with serving(tmp_path, adapter=adapter) as address:
            client = await RuntimeClient.connect(address)
            agent = (await client.load(SOURCE)).agent
            await client.close()
            peer = await raw(address)
            peer.writer.transport.pause_reading()  # type: ignore[attr-defined]  # as above
            await peer.ask(1, "run", {"execution": "flood", "agent": agent})
            await adapter.stalled()
            await peer.ask(2, "run", {"execution": "work", "agent": agent, "limits": {"steps": 100_000}})
            while not adapter.worked:
                await asyncio.sleep(0.01)
            await peer.close()
            await asyncio.wait_for(adapter.ended.wait(), 10)
            await asyncio.sleep(0.2)
            worked = adapter.worked
            await asyncio.sleep(0.5)
            assert adapter.worked == worked, "it goes on for nobody"

    bounded(scenario)
