"""A framework of forty lines, in the standard library: the smallest guest that passes the suite.

It is for tests of the trusted side and of the suite itself. Its native types are `FakeAgent` and `FakeTeam`.
"""

import asyncio
import http.client
import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from orchestrator_runtimes.adapter import Adapter, Outcome
from orchestrator_runtimes.capabilities import YES, Capability, no
from orchestrator_runtimes.errors import AgentError, ErrorCode
from orchestrator_runtimes.events import Message, Token
from orchestrator_runtimes.execution import CURRENT, Execution
from orchestrator_runtimes.json_values import Json
from orchestrator_runtimes.messages import FinishReason, PortableAgent
from orchestrator_runtimes.model_answers import AnswerStream, read_answer, status_fault
from orchestrator_runtimes.model_calls import EXECUTION_HEADER
from orchestrator_runtimes.profiles import FrameworkProfile
from orchestrator_runtimes.tools import PortableTool, ToolFailure, function_tool

PROFILE: Final = FrameworkProfile(
    name="fake",
    title="Fake",
    package="orchestrator_runtimes.conformance",
    adapter="orchestrator_runtimes.conformance.fake:FakeAdapter",
    distribution="orchestrator-runtimes",
    requirements=(),
    lock_file="fake.lock",
    licence="Apache-2.0",
    homepage="",
    native=("FakeAgent", "FakeTeam"),
    environment={},
    capabilities=dict.fromkeys(Capability, YES)
    | {Capability.CRASH_RESUME: no("it keeps no state inside a run")},
    cancel="next_call",
)


@dataclass(frozen=True, kw_only=True)
class FakeAgent:
    """An agent: a system prompt, functions it may call, and what it makes of its answer (None: leaves it as it is).

    One that `asks` waits for a decision before it speaks, and then speaks about that.
    """

    instructions: str
    tools: Sequence[Callable[..., object]] = ()
    name: str = "fake"
    finish: Callable[[str], object] | None = None
    asks: bool = False


@dataclass(frozen=True, kw_only=True)
class FakeTeam:
    """Agents that speak one after the other; each is given what the one before said."""

    members: Sequence[FakeAgent]


@dataclass(frozen=True, kw_only=True)
class _Ready:
    members: tuple[tuple[str, str, tuple[PortableTool, ...]], ...]
    native_type: str
    model: str = "fake"
    output_schema: Mapping[str, Json] | None = None
    temperature: float | None = field(default=None)
    raises: bool = False
    finish: Callable[[str], object] | None = None
    asks: bool = False


class FakeAdapter(Adapter):
    """Runs the loop that every framework has: ask the model, call its tools, until it only talks."""

    profile = PROFILE

    async def load_native(self, found: Any, options: Mapping[str, Json]) -> _Ready:
        """Take a FakeAgent, a FakeTeam or a function that returns one."""
        found = await self.made(found, FakeAgent | FakeTeam)
        members = found.members if isinstance(found, FakeTeam) else [found]
        ready = tuple((m.name, m.instructions, tuple(function_tool(t) for t in m.tools)) for m in members)
        return _Ready(
            members=ready,
            native_type=type(found).__name__,
            raises=True,
            finish=members[-1].finish,
            asks=members[0].asks,
        )

    def build_portable(self, agent: PortableAgent, tools: Sequence[PortableTool]) -> _Ready:
        """Make a team of one."""
        return _Ready(
            members=((agent.name, agent.instructions, tuple(tools)),),
            native_type="FakeAgent",
            model=agent.model,
            output_schema=agent.output_schema,
            temperature=agent.temperature,
        )

    def tool_names(self, agent: _Ready) -> frozenset[str]:
        """Return the names of all members' tools."""
        return frozenset(tool.name for _, _, tools in agent.members for tool in tools)

    def native_type(self, agent: _Ready) -> str:
        """Return the type that was loaded."""
        return agent.native_type

    def framework_version(self) -> str:
        """Return a version of its own: it is no distribution."""
        return "1"

    async def run(self, agent: _Ready, execution: Execution) -> Outcome:
        """Let each member speak."""
        history = await _history(execution)
        inputs = execution.run.inputs
        text = inputs if isinstance(inputs, str) else json.dumps(inputs)
        if not agent.asks:
            return await self._said(agent, execution, history, text)
        await execution.save_state(json.dumps([*history, {"asked": text}]))
        return Outcome(output=text, finish_reason=FinishReason.INTERRUPTED)

    async def resume(self, agent: _Ready, execution: Execution, decision: Json) -> Outcome:
        """Let each member speak about the decision."""
        history = await _history(execution)
        last = history.pop() if history else None
        if not isinstance(last, Mapping) or "asked" not in last:
            raise AgentError(ErrorCode.INVALID_INPUT, "the session waits for no decision")
        return await self._said(agent, execution, history, f"{last['asked']} {json.dumps(decision)}")

    async def _said(self, agent: _Ready, execution: Execution, history: list[Json], text: str) -> Outcome:
        for name, instructions, tools in agent.members:
            history.append({"role": "user", "content": text})
            text = await self._speak(agent, execution, instructions, tools, history)
            await execution.emit(Message(text=text, agent=name))
        await execution.save_state(json.dumps(history))
        if agent.output_schema is None:
            return Outcome(output=agent.finish(text) if agent.finish else text)
        try:
            return Outcome(output=json.loads(text))
        except ValueError as error:
            raise AgentError(
                ErrorCode.OUTPUT_SCHEMA_MISMATCH, "the answer is not JSON", cause=f"{error}: {text[:200]}"
            ) from error

    async def _speak(
        self,
        agent: _Ready,
        execution: Execution,
        instructions: str,
        tools: Sequence[PortableTool],
        history: list[Json],
    ) -> str:
        by_name = {tool.name: tool for tool in tools}
        while True:
            body: dict[str, Json] = {
                "model": agent.model,
                "messages": [{"role": "system", "content": instructions}, *history],
                "stream": execution.run.stream,
            }
            if agent.temperature is not None:
                body["temperature"] = agent.temperature
            if tools:
                body["tools"] = [
                    {
                        "type": "function",
                        "function": {
                            "name": t.name,
                            "description": t.description,
                            "parameters": t.parameters,
                        },
                    }
                    for t in tools
                ]
            if agent.output_schema is not None:
                schema: Json = {"name": "output", "schema": agent.output_schema}
                body["response_format"] = {"type": "json_schema", "json_schema": schema}
            message = await asyncio.to_thread(ask, body)
            history.append(message)
            calls: list[Any] = message.get("tool_calls") or []
            if not calls:
                return str(message.get("content") or "")
            history += [await self._use(agent, execution, by_name, call) for call in calls]

    async def _use(
        self, agent: _Ready, execution: Execution, tools: Mapping[str, PortableTool], call: Any
    ) -> dict[str, Json]:
        name = str(call["function"]["name"])
        if (tool := tools.get(name)) is None:
            text = f"error: there is no tool {name!r}"
        else:
            text = await tool.run(json.loads(call["function"]["arguments"] or "{}"))
            if agent.raises and name in execution.failed_tools:
                raise ToolFailure(execution.failed_tools[name])
        return {"role": "tool", "tool_call_id": call["id"], "content": text}


def ask(body: Mapping[str, Json]) -> dict[str, Any]:
    """Make one chat completion for the current execution, from a thread, and return its message."""
    execution = CURRENT.get()
    assert execution is not None and execution.run.model is not None
    began, started = execution.begin_model_call(), time.monotonic()
    usage, error = None, None
    message: dict[str, Any] = {}
    try:
        with urllib.request.urlopen(_request(execution, body), timeout=execution.seconds_left) as answer:
            if body.get("stream"):
                stream = AnswerStream(drop_usage=False)
                for line in answer:
                    _grow(execution, message, stream.feed(line))
                usage, error = stream.usage, stream.finish()[1]
            else:
                content = answer.read()
                usage, error = read_answer(content)
                message = {} if error else json.loads(content)["choices"][0]["message"]
    except urllib.error.HTTPError as fault:
        error = status_fault(fault.code, fault.read())
    except TimeoutError as fault:
        error = AgentError(ErrorCode.TIMEOUT, "the model endpoint did not answer in time", cause=str(fault))
    except (OSError, http.client.HTTPException) as fault:
        error = AgentError(
            ErrorCode.MODEL_UNAVAILABLE, "the model endpoint cannot be reached", cause=str(fault)
        )
    seconds = time.monotonic() - started
    model = str(body["model"])
    execution.emit_from_thread(
        execution.end_model_call(began, model=model, seconds=seconds, usage=usage, error=error)
    )
    if error is not None:
        raise error
    return message


def _request(execution: Execution, body: Mapping[str, Json]) -> urllib.request.Request:
    address = execution.run.model
    assert address is not None
    if body.get("stream"):
        body = {**body, "stream_options": {"include_usage": True}}
    headers = {"content-type": "application/json", EXECUTION_HEADER: execution.run.execution}
    if address.api_key is not None:
        headers["authorization"] = f"Bearer {address.api_key}"
    if execution.run.traceparent is not None:
        headers["traceparent"] = execution.run.traceparent
    return urllib.request.Request(f"{address.base_url}/chat/completions", json.dumps(body).encode(), headers)


def _grow(execution: Execution, message: dict[str, Any], events: bytes) -> None:
    """Add the pieces of a stream to the message."""
    for line in events.splitlines():
        if not line.startswith(b"data:") or line[5:].strip() == b"[DONE]":
            continue
        try:
            chunk = json.loads(line[5:])
        except ValueError:
            continue  # the stream's judge saw it too
        for choice in chunk.get("choices", []):
            delta = choice["delta"]
            message.setdefault("role", "assistant")
            if text := delta.get("content"):
                message["content"] = message.get("content", "") + text
                execution.emit_from_thread(Token(text=text))
            pieces: list[Any] = delta.get("tool_calls") or []
            for piece in pieces:
                calls = message.setdefault("tool_calls", [])
                if len(calls) <= piece["index"]:
                    calls.append(
                        {"id": piece.get("id"), "type": "function", "function": {"name": "", "arguments": ""}}
                    )
                for key in ("name", "arguments"):
                    calls[piece["index"]]["function"][key] += piece["function"].get(key) or ""


async def _history(execution: Execution) -> list[Json]:
    state = await execution.load_state()
    return list(json.loads(state)) if state else []
