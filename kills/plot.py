"""What every agent here does: six model calls, eight calls of four tools, some at once, and a structured output.

The model is a function of the conversation alone, so a run that was killed must end as one that was not.
"""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from orchestrator_runtimes.conformance.answers import Answer, ToolCall
from orchestrator_runtimes.conformance.conversations import Conversation
from orchestrator_runtimes.json_values import Json

ROUNDS: Final = (("read", "weigh"), ("order",), ("read",), ("pay",), ("order", "weigh"))
"""The tools that the model calls in each of its answers but the last; those of one answer are a parallel branch."""

MODEL_CALLS: Final = len(ROUNDS) + 1
ONCE: Final = frozenset({"order", "pay"})
"""Tools that may never run a second time."""

TOOLS: Final = ("read", "weigh", "order", "pay")
MARKER: Final = re.compile(r"KILL-\d+")

OUTPUT_SCHEMA: Final[Mapping[str, Json]] = {
    "type": "object",
    "properties": {"item": {"type": "string"}, "receipts": {"type": "array", "items": {"type": "string"}}},
    "required": ["item", "receipts"],
    "additionalProperties": False,
}
INSTRUCTIONS: Final = "You buy what the user names. Use the tools, then give the item and all receipts."

_ENDS: Final = "format_final_json_response"
"""The tool by which n8n's agents end with a structured output."""

_RECEIPT: Final = re.compile(r"<(KILL-\d+) (\d+) ([a-z]+) ([0-9a-f]{6})>")


class NotOurs(Exception):
    """A request that no agent of these trials would make."""


@dataclass(frozen=True, kw_only=True, order=True)
class ToolStep:
    """One tool call of an execution: the round of the conversation that it belongs to, and the tool."""

    number: int
    tool: str


def marker(number: int) -> str:
    """Return the name of an execution: its prompt holds it, and every answer and receipt."""
    return f"KILL-{number}"


def receipt(item: str, step: ToolStep) -> str:
    """Return what a tool answers: it depends on everything that it was asked."""
    told = hashlib.sha256(f"{item} {step.number} {step.tool}".encode()).hexdigest()[:6]
    return f"<{item} {step.number} {step.tool} {told}>"


def arguments(item: str, number: int, witness: str) -> Mapping[str, Json]:
    """Return what the model calls a tool with; `witness` is where the tool's effect is counted."""
    return {"item": item, "number": number, "witness": witness}


def place_of(conversation: Conversation) -> tuple[str, int, frozenset[ToolStep]]:
    """Return whose conversation it is, which model call this is (from 0), and the tools whose receipts it holds.

    Raises:
        NotOurs: It names no execution, or receipts of another one.
    """
    named = MARKER.search(conversation.prompt)
    if named is None:
        raise NotOurs("a request names no execution")
    item = named[0]
    done = set[ToolStep]()
    for found in _RECEIPT.finditer(conversation.prompt):
        step = ToolStep(number=int(found[2]), tool=found[3])
        if found[0] != receipt(item, step):
            raise NotOurs(f"a request of {item} holds {found[0]}")
        done.add(step)
    return item, _round(done), frozenset(done)


def _round(done: set[ToolStep]) -> int:
    for number, tools in enumerate(ROUNDS):
        if not all(ToolStep(number=number, tool=tool) in done for tool in tools):
            return number
    return len(ROUNDS)


def next_answer(conversation: Conversation, witness: str) -> Answer:
    """Return what the model says next."""
    item, number, done = place_of(conversation)
    if number < len(ROUNDS):
        offered = [tool.name for tool in conversation.tools]
        calls = [
            ToolCall(name=_named(offered, tool), arguments=json.dumps(arguments(item, number, witness)))
            for tool in ROUNDS[number]
        ]
        return Answer(calls=tuple(calls), finish_reason="tool_calls")
    receipts = sorted(receipt(item, step) for step in done)
    output = {"item": item, "receipts": receipts}
    text = json.dumps(output)
    if any(tool.name == _ENDS for tool in conversation.tools):
        wrapped = json.dumps({"output": output})
        return Answer(calls=(ToolCall(name=_ENDS, arguments=wrapped),), finish_reason="tool_calls")
    forced = conversation.tool_choice.removeprefix("tool:")
    if forced != conversation.tool_choice:
        return Answer(calls=(ToolCall(name=forced, arguments=text),), finish_reason="tool_calls")
    if conversation.tool_choice == "required":  # the schema of the end is offered last
        last = conversation.tools[-1].name
        return Answer(calls=(ToolCall(name=last, arguments=text),), finish_reason="tool_calls")
    return Answer(text=text)


def _named(offered: Sequence[str], tool: str) -> str:
    try:
        return next(name for name in offered if tool in name)
    except StopIteration:
        raise NotOurs(f"the tool {tool!r} is not offered, only {', '.join(offered) or 'none'}") from None


def right_output(item: str) -> Mapping[str, Json]:
    """Return what an execution must end with."""
    steps = [ToolStep(number=number, tool=tool) for number, tools in enumerate(ROUNDS) for tool in tools]
    return {"item": item, "receipts": sorted(receipt(item, step) for step in steps)}
