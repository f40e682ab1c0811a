"""The server outside of everything that is killed: it plays the model, has the tools' effects, and counts both."""

import asyncio
import json
import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from aiohttp import web

from kills.boundaries import Boundary, Stage
from kills.plot import ONCE, NotOurs, ToolStep, next_answer, place_of, receipt
from kills.records import Records
from orchestrator_runtimes.conformance.chat_completions import Frame, completion, completion_events
from orchestrator_runtimes.conformance.conversations import MalformedRequest, of_chat
from orchestrator_runtimes.conformance.json_tree import as_object
from orchestrator_runtimes.model_calls import EXECUTION_HEADER

_BODY_BYTES: Final = 8 * 2**20
_START_SECONDS: Final = 30.0

Moment = tuple[str, Boundary]
"""An execution and how far it has come."""


@dataclass(kw_only=True)
class Watch:
    """What the witness sees of one trial, and where it waits. All of it belongs to the witness's loop.

    Attributes:
        records: What gateway and host have recorded durably.
        holds: Where each execution is held, once; the others of a moment's kind pass.
        models: How often each model call was asked for, by execution and number.
        tools: How often each tool call arrived.
        seen: Receipts that the model was shown: results of these tools are known.
        problems: What must never be, in words.
        counts: `repeated_models` (recorded ones that were asked for again), `models_again` (unrecorded ones),
            `repeated_tools` (`once`, or recorded), `tools_again` (unrecorded ones that may run again).
    """

    records: Records
    holds: dict[str, Boundary] = field(default_factory=dict[str, Boundary])
    models: Counter[tuple[str, int]] = field(default_factory=Counter[tuple[str, int]])
    tools: Counter[tuple[str, ToolStep]] = field(default_factory=Counter[tuple[str, ToolStep]])
    seen: dict[str, frozenset[ToolStep]] = field(default_factory=dict[str, frozenset[ToolStep]])
    problems: list[str] = field(default_factory=list[str])
    counts: Counter[str] = field(default_factory=Counter[str])
    held: threading.Event = field(default_factory=threading.Event)
    _executions: dict[str, str] = field(default_factory=dict[str, str])
    _alarms: dict[Moment, threading.Event] = field(default_factory=dict[Moment, threading.Event])
    _passed: set[Moment] = field(default_factory=set[Moment])
    _released: asyncio.Event = field(default_factory=asyncio.Event)

    async def alarm(self, moment: Moment) -> threading.Event:
        """Return what is set when an execution has come so far, which may be now."""
        event = self._alarms.setdefault(moment, threading.Event())
        if moment in self._passed:
            event.set()
        return event

    async def release(self) -> None:
        """Let go on what is held, and hold nothing more."""
        self._released.set()

    async def reach(self, item: str, boundary: Boundary) -> None:
        """Note that an execution has come so far, and wait where it is to be held."""
        self._passed.add((item, boundary))
        if (alarm := self._alarms.get((item, boundary))) is not None:
            alarm.set()
        if self.holds.get(item) == boundary and not self._released.is_set():
            del self.holds[item]
            if not self.holds:
                self.held.set()
            await self._released.wait()

    async def ask(self, item: str, number: int, done: frozenset[ToolStep], execution: str) -> None:
        """Note a model call."""
        self.seen[item] = self.seen.get(item, frozenset()) | done
        self._executions[item] = execution
        self.models[item, number] += 1
        if self.models[item, number] > 1:
            if await self._is_recorded(execution, item, number):
                self.counts["repeated_models"] += 1
                self.problems.append(f"the recorded model call {number} of {item} was made again")
            else:
                self.counts["models_again"] += 1

        elif number == 1 and not await self._is_recorded(execution, item, 0):
            # an answer is durable before a guest sees its end; this also shows that the records are the right ones
            self.problems.append(f"the guest had an answer of {item} that is not recorded")

    async def _is_recorded(self, execution: str, item: str, number: int) -> bool:
        most = 2 * self.models.total()  # a call that was lost has two numbers
        return await self.records.has_answer(execution, f"{item}-{number}", most)

    async def use(self, item: str, step: ToolStep) -> None:
        """Note a tool call."""
        self.tools[item, step] += 1
        if self.tools[item, step] > 1:
            execution = self._executions.get(item, "")
            known = step in self.seen.get(item, ()) or step.tool in ONCE
            if known or await self.records.has_result(execution, receipt(item, step)):
                self.counts["repeated_tools"] += 1
                self.problems.append(f"the tool {step.tool} {step.number} of {item} ran again")
            else:
                self.counts["tools_again"] += 1


class Witness:
    """Listens in a thread of its own while it is entered."""

    def __init__(self) -> None:
        """Prepare; nothing listens yet."""
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="witness", daemon=True)
        self._watches: dict[str, Watch] = {}
        self._port = 0
        self._runner: web.AppRunner | None = None

    def __enter__(self) -> "Witness":
        """Listen."""
        self._thread.start()
        self.do(self._listen())
        return self

    def __exit__(self, *_: object) -> None:
        """Listen no more."""
        if self._runner is not None:
            self.do(self._runner.cleanup())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_START_SECONDS)
        self._loop.close()

    def do(self, work: Any) -> Any:
        """Return what a coroutine returns that runs in the witness's loop."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(_START_SECONDS)

    def address(self, trial: str) -> str:
        """Return where the model and the tools of a trial are; the model's base URL is `/v1` below it."""
        return f"http://127.0.0.1:{self._port}/{trial}"

    def begin(self, trial: str, records: Records, holds: Mapping[str, Boundary]) -> Watch:
        """Begin to watch a trial."""

        async def make() -> Watch:
            return Watch(records=records, holds=dict(holds))

        self._watches[trial] = self.do(make())
        return self._watches[trial]

    def end(self, trial: str) -> None:
        """Watch a trial no longer."""
        watch = self._watches.pop(trial)
        self.do(watch.release())
        self.do(watch.records.close())

    async def _listen(self) -> None:
        app = web.Application(client_max_size=_BODY_BYTES)
        app.router.add_post("/{trial}/v1/chat/completions", self._model)
        app.router.add_post("/{trial}/tools", self._tool)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self._port = self._runner.addresses[0][1]

    def _watch(self, request: web.Request) -> Watch:
        try:
            return self._watches[request.match_info["trial"]]
        except KeyError:
            raise web.HTTPGone from None  # what a trial that has ended left behind

    async def _model(self, request: web.Request) -> web.StreamResponse:
        watch = self._watch(request)
        try:
            body = await request.json()
            conversation = of_chat(body)
            item, number, done = place_of(conversation)
            answer = next_answer(conversation, self.address(request.match_info["trial"]))
        except (NotOurs, MalformedRequest, ValueError) as error:
            watch.problems.append(str(error))
            raise web.HTTPBadRequest(text=json.dumps({"error": {"message": str(error)}})) from error
        await watch.ask(item, number, done, request.headers.get(EXECUTION_HEADER, ""))
        await watch.reach(item, Boundary(number=number, stage=Stage.ASKED))
        frame = Frame(id=f"{item}-{number}", model="m", input_tokens=10, output_tokens=10)
        if body.get("stream") is True:
            usage = as_object(body.get("stream_options")).get("include_usage") is True
            pieces = list(completion_events(answer, frame, include_usage=usage))
            response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        else:
            whole = json.dumps(completion(answer, frame)).encode()
            pieces = [whole[: len(whole) // 2], whole[len(whole) // 2 :]]
            length = {"content-type": "application/json", "content-length": str(len(whole))}
            response = web.StreamResponse(headers=length)
        try:
            await response.prepare(request)
            half = len(pieces) // 2
            for piece in pieces[:half]:
                await response.write(piece)
            await watch.reach(item, Boundary(number=number, stage=Stage.HALF))
            for piece in pieces[half:]:
                await response.write(piece)
            await response.write_eof()
        except ConnectionError:
            return response  # whoever asked was killed
        await watch.reach(item, Boundary(number=number, stage=Stage.SENT))
        return response

    async def _tool(self, request: web.Request) -> web.StreamResponse:
        watch = self._watch(request)
        told = await request.json()
        item, step = told["item"], ToolStep(number=told["number"], tool=told["tool"])
        await watch.use(item, step)

        def at(stage: Stage) -> Boundary:
            return Boundary(number=step.number, tool=step.tool, stage=stage)

        await watch.reach(item, at(Stage.ASKED))
        await watch.reach(item, at(Stage.DONE))
        response = web.StreamResponse(headers={"content-type": "text/plain"})
        try:
            await response.prepare(request)
            await response.write(receipt(item, step).encode())
            await response.write_eof()
        except ConnectionError:
            return response  # whoever asked was killed
        await watch.reach(item, at(Stage.SENT))
        return response
