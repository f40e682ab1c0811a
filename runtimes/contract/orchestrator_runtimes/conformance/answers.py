"""What a scripted model says next, decided from its script, the conversation and the fault of this call."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from orchestrator_runtimes.conformance.conversations import Conversation, OfferedTool, tokens
from orchestrator_runtimes.conformance.json_tree import JsonObject
from orchestrator_runtimes.conformance.schema_values import value_for
from orchestrator_runtimes.conformance.scripts import Fault, FaultKind, Script

UNKNOWN_TOOL: Final = "no_such_tool"
_BAD_ARGUMENTS: Final = '{"city": "Par'
_WRONG_VALUE: Final = '{"unexpected": [1]}'
# what the agent loops that read text (CrewAI's) are told to write
_TEXT_AGENT_WORDS: Final = ("Thought:", "Final Answer")


@dataclass(frozen=True, kw_only=True)
class ToolCall:
    """A call of a tool: its name and its arguments as the text that the model wrote."""

    name: str
    arguments: str


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What one model call says.

    Attributes:
        text: The text; None when it calls tools.
        calls: Tools to call, all in parallel.
        finish_reason: `stop`, `tool_calls`, `length` or `content_filter`.
        empty: True answers with no choice at all.
    """

    text: str | None = None
    calls: tuple[ToolCall, ...] = ()
    finish_reason: str = "stop"
    empty: bool = False

    @property
    def output_tokens(self) -> int:
        """`tokens` of the text, or of all names and arguments of the calls put together."""
        return tokens(self.text or "".join(call.name + call.arguments for call in self.calls))


def decide(script: Script, conversation: Conversation, fault: Fault | None) -> Answer:
    """Return the next answer of a model that follows `script`."""
    kind = fault.kind if fault else None
    if fault:
        match fault.kind:
            case FaultKind.NO_CHOICES:
                return Answer(empty=True)
            case FaultKind.EMPTY_CONTENT:
                return Answer(text="")
            case FaultKind.HUGE:
                return Answer(text="x" * fault.size)
            case FaultKind.FINISH_REASON:
                text = _final_text(script, conversation) if fault.finish_reason == "length" else ""
                return Answer(text=text[: len(text) // 2], finish_reason=fault.finish_reason)
            case _:
                pass
    chosen, structured = _chosen_tools(script, conversation, endless=kind is FaultKind.ENDLESS_TOOLS)
    if kind is FaultKind.UNKNOWN_TOOL and (chosen or not conversation.rounds):
        return Answer(calls=(ToolCall(name=UNKNOWN_TOOL, arguments="{}"),), finish_reason="tool_calls")
    if chosen:
        calls = tuple(_call(script, conversation, tool, kind, structured) for tool in chosen)
        return Answer(calls=calls, finish_reason="tool_calls")
    if conversation.wants_json and kind is FaultKind.BAD_STRUCTURED_OUTPUT:
        return Answer(text=_WRONG_VALUE if conversation.schema is not None else "this is not JSON")
    return Answer(text=_final_text(script, conversation))


def _chosen_tools(
    script: Script, conversation: Conversation, *, endless: bool
) -> tuple[list[OfferedTool], bool]:
    """Return the tools to call, and whether the call is the final answer in the form of a tool call."""
    tools, choice = conversation.tools, conversation.tool_choice
    if not tools or choice == "none":
        return [], False
    if choice.startswith("tool:"):
        return [tool for tool in tools if f"tool:{tool.name}" == choice][:1], True
    handoffs = [tool for part in script.handoffs for tool in tools if part in tool.name]
    if handoffs and not endless:
        due = [tool for tool in handoffs if tool.name not in conversation.called][:1]
    elif endless or conversation.rounds < script.tool_rounds:
        due = _matching(script.tool, tools) or [tools[0]]
    else:
        due = []
    # a call required after the last round asks for structured output, whose schema frameworks offer last
    return (due, False) if due or choice != "required" else ([tools[-1]], True)


def _matching(parts: tuple[str, ...], tools: tuple[OfferedTool, ...]) -> list[OfferedTool]:
    found = [next((tool for tool in tools if part in tool.name), None) for part in parts]
    return [tool for tool in found if tool is not None]


def _call(
    script: Script, conversation: Conversation, tool: OfferedTool, kind: FaultKind | None, structured: bool
) -> ToolCall:
    if kind is FaultKind.BAD_TOOL_ARGUMENTS:
        return ToolCall(name=tool.name, arguments=_BAD_ARGUMENTS)
    if kind is FaultKind.WRONG_TOOL_ARGUMENTS or (structured and kind is FaultKind.BAD_STRUCTURED_OUTPUT):
        return ToolCall(name=tool.name, arguments=_WRONG_VALUE)
    values = {**script.output, **script.arguments} if structured else script.arguments
    return ToolCall(
        name=tool.name,
        arguments=_json_for(tool.parameters or {"type": "object"}, values, script, conversation),
    )


def _final_text(script: Script, conversation: Conversation) -> str:
    if conversation.wants_json:
        if conversation.schema is not None:
            return _json_for(conversation.schema, script.output, script, conversation)
        return json.dumps(_filled_values(script.output or {"answer": script.text}, script, conversation))
    text = script.text
    if script.echo is not None:
        text = _filled(text if "{echo}" in text else f"{text} {{echo}}", _markers(script.echo, conversation))
    prompt = conversation.prompt
    if all(word in prompt for word in _TEXT_AGENT_WORDS):
        return f"Thought: I now can give a great answer\nFinal Answer: {text}"
    return text


def _json_for(
    schema: JsonObject, values: Mapping[str, object], script: Script, conversation: Conversation
) -> str:
    return json.dumps(value_for(schema, _filled_values(values, script, conversation)))


def _filled_values(
    values: Mapping[str, object], script: Script, conversation: Conversation
) -> Mapping[str, object]:
    if script.echo is None:
        return values
    markers = _markers(script.echo, conversation)
    return {
        name: _filled(value, markers) if isinstance(value, str) else value for name, value in values.items()
    }


def _markers(pattern: str, conversation: Conversation) -> str:
    found = (match.group() for match in re.finditer(pattern, conversation.prompt))
    return " ".join(dict.fromkeys(found))


def _filled(text: str, markers: str) -> str:
    return text.replace("{echo}", markers)
