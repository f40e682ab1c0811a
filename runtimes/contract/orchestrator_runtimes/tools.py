"""Tools of portable agents: the same behaviour in every framework, which only gets a name, a schema and a callable."""

import asyncio
import hashlib
import inspect
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Final

from orchestrator_runtimes.errors import AgentError, ErrorCode
from orchestrator_runtimes.execution import CURRENT, Execution, ExecutionStopped
from orchestrator_runtimes.function_schemas import parameters_schema
from orchestrator_runtimes.json_values import Json, NotJson, dump, whole_characters
from orchestrator_runtimes.messages import (
    Approval,
    ApprovalAsk,
    Done,
    Step,
    StepLookup,
    StepRecord,
    ToolApproval,
)
from orchestrator_runtimes.output_schemas import mismatch

RESULT_CHARACTERS: Final = 200_000
"""Longest text a tool may hand to the model; what is longer is cut, and says so."""

Call = Callable[[Mapping[str, Json]], Awaitable[object]]


class ToolFailure(Exception):
    """A tool raised; the text is what the model is told."""


@dataclass(frozen=True, kw_only=True)
class PortableTool:
    """A tool as every adapter gets it.

    Attributes:
        name: What the model calls it.
        description: What the model is told.
        parameters: JSON Schema of an object.
        call: The code behind it; gets the arguments, returns JSON or text, raises what it likes.
        once: True when a finished call must not be repeated by a retry.
        approval: True when each call waits for a person's decision before it runs.
    """

    name: str
    description: str
    parameters: Mapping[str, Json]
    call: Call
    once: bool = False
    approval: bool = False

    async def run(self, arguments: Mapping[str, Json]) -> str:
        """Call the tool for the current execution and return the text for the model.

        What the tool raises, and arguments that do not match, come back as text that begins with `error:`, so that the
        model can react: the same in every framework.

        Raises:
            ExecutionStopped: A limit was crossed, the execution was cancelled, or it waits for a decision; with
                `tool_failed`, the journal says that a `once` tool was started before and its result is unknown; with
                another code, the journal does not answer. No framework may tell any of these to the model, which would
                only call the tool again.
            AgentError: `tool_failed` outside of any execution.
        """
        execution = CURRENT.get()
        if execution is None:
            raise AgentError(
                ErrorCode.TOOL_FAILED, f"the tool {self.name!r} was called outside of any execution"
            )
        execution.begin_tool_call(self.name)
        with execution.tool_running():
            return await self._run(execution, arguments)

    async def _run(self, execution: Execution, arguments: Mapping[str, Json]) -> str:
        began = time.monotonic()
        error: str | None
        if wrong := mismatch(self.parameters, dict(arguments)):
            text, error = f"error: wrong arguments, {wrong.replace('output', 'arguments', 1)}", wrong
        else:
            try:
                text, error, replayed = await self._through_journal(execution, arguments)
            except AgentError as stopped:
                execution.stop(stopped)
                raise ExecutionStopped(stopped) from stopped
            if replayed:
                await execution.emit(execution.end_tool_call(self.name, 0.0, None, replayed=True))
                return text
        await execution.emit(execution.end_tool_call(self.name, time.monotonic() - began, error))
        return text

    async def _through_journal(
        self, execution: Execution, arguments: Mapping[str, Json]
    ) -> tuple[str, str | None, bool]:
        """Return the text, the error if any, and whether an earlier try's result was taken."""
        if not execution.run.journal and not self.approval:
            return *await self._call(execution, arguments), False
        identity = step_identity(self.name, arguments)
        occurrence = execution.next_occurrence(identity)
        name = execution.run.execution
        if self.approval:
            ask = ApprovalAsk(
                execution=name, step=identity, occurrence=occurrence, tool=self.name, arguments=arguments
            )
            if (refusal := await _refusal(execution, ask)) is not None:
                return f"error: {refusal}", refusal, False
        if not execution.run.journal:
            return *await self._call(execution, arguments), False
        lookup = StepLookup(execution=name, step=identity, occurrence=occurrence, once=self.once)
        step = await execution.call_host("step.lookup", lookup, Step)
        if step.state == "finished":
            return step.result or "", None, True
        if step.state == "started" and self.once:
            raise unknown_result(self.name)
        text, error = await self._call(execution, arguments)
        if error is None or self.once:  # what may run only once has ended with its failure, too
            record = StepRecord(execution=name, step=identity, occurrence=occurrence, result=text)
            await execution.call_host("step.record", record, Done)
        return text, error, False

    async def _call(self, execution: Execution, arguments: Mapping[str, Json]) -> tuple[str, str | None]:
        try:
            async with asyncio.timeout(execution.seconds_left):
                return as_text(await self.call(arguments)), None
        except TimeoutError as error:
            execution.check()
            reason = f"TimeoutError: {error}"
        except AgentError:
            raise  # the execution's own, such as of a tool that may run only once
        except Exception as error:  # the boundary: whatever a tool raises is told to the model
            reason = str(error) if isinstance(error, ToolFailure) else f"{type(error).__name__}: {error}"
        return f"error: {reason}", reason


async def _refusal(execution: Execution, ask: ApprovalAsk) -> str | None:
    """Return why a call must not run; None when it may. It does not return while nobody has decided."""
    try:
        answer = await execution.call_host("approval.ask", ask, Approval)
    except (
        AgentError
    ) as error:  # some frameworks would tell it to the model, and the model might try another way
        execution.stop(error)
        raise ExecutionStopped(error) from error
    if answer.state == "waiting":
        request = ToolApproval(approval=answer.id, tool=ask.tool, arguments=ask.arguments)
        await execution.wait_for_decision(request)
    if answer.state == "rejected":
        return "a person refused this call" + (f": {answer.reason}" if answer.reason else "")
    return None


def step_identity(name: str, arguments: Mapping[str, Json]) -> str:
    """Return what names calls of a tool with these arguments in the journal; equal calls are counted beside it."""
    return hashlib.sha256(dump([name, _sorted(arguments)])).hexdigest()


def unknown_result(name: str) -> AgentError:
    """Return the error of a tool that may run only once, that an earlier try began, and whose result is not known."""
    return AgentError(
        ErrorCode.TOOL_FAILED,
        f"the tool {name!r} was started by an earlier try and may run only once; its result is unknown",
        detail={"tool": name, "state": "started"},
    )


def _sorted(value: Json) -> Json:
    if isinstance(value, Mapping):
        return {key: _sorted(value[key]) for key in sorted(value)}
    return [_sorted(item) for item in value] if isinstance(value, list | tuple) else value


def as_text(result: object) -> str:
    """Return a tool's result as text for the model: text as it is, else JSON, else its `str`."""
    if isinstance(result, str):
        text = whole_characters(result)
    else:
        try:
            text = dump(result).decode()
        except NotJson:
            text = whole_characters(str(result))
    if len(text) > RESULT_CHARACTERS:
        return text[:RESULT_CHARACTERS] + f"… [cut: the result has {len(text)} characters]"
    return text


def function_tool(
    function: Callable[..., object], *, once: bool = False, approval: bool = False
) -> PortableTool:
    """Make a tool of a Python function with type hints; its docstring's first paragraph is the description.

    A synchronous function runs in a thread, so that it blocks no other execution.

    Raises:
        AgentError: `agent_load_failed` when its parameters cannot be described.
    """
    name = getattr(function, "__name__", type(function).__name__)

    async def call(arguments: Mapping[str, Json]) -> object:
        if inspect.iscoroutinefunction(function):
            return await function(**arguments)
        result = await asyncio.to_thread(function, **arguments)
        return await result if inspect.isawaitable(result) else result

    description = (inspect.getdoc(function) or name).split("\n\n")[0]
    return PortableTool(
        name=name,
        description=description,
        parameters=parameters_schema(function, name),
        call=call,
        once=once,
        approval=approval,
    )
