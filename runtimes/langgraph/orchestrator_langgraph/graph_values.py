"""From an execution's inputs to a graph's state, and from its last state to an output."""

import json
from collections.abc import Mapping
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage

from orchestrator_runtimes.errors import AgentError, ErrorCode
from orchestrator_runtimes.json_values import Json


def graph_input(channels: frozenset[str], inputs: Json) -> dict[str, Any]:
    """Return the state that a graph begins with.

    An object whose keys are channels of the graph is taken as it is; anything else is the user's message.

    Raises:
        AgentError: `invalid_input` when the graph has no `messages` and the inputs name other channels than its own.
    """
    if isinstance(inputs, Mapping) and inputs and set(inputs) <= channels:
        return dict(inputs)
    if "messages" not in channels:
        given = sorted(inputs) if isinstance(inputs, Mapping) else type(inputs).__name__
        raise AgentError(
            ErrorCode.INVALID_INPUT, f"the graph takes an object with keys of {sorted(channels)}, got {given}"
        )
    text = inputs if isinstance(inputs, str) else json.dumps(inputs)
    return {"messages": [("user", text)]}


def graph_output(state: Any) -> object:
    """Return a graph's output: its structured response, its last message's text, or its state."""
    if not isinstance(state, Mapping):
        return plain(state)
    if state.get("structured_response") is not None:
        return plain(state["structured_response"])
    messages = state.get("messages")
    if isinstance(messages, list) and messages and isinstance(messages[-1], BaseMessage):
        return messages[-1].text
    return plain(state)


def plain(value: Any) -> object:
    """Return a value as JSON where its type says how; the worker refuses what is left."""
    if isinstance(value, BaseMessage):
        return {"role": "assistant" if isinstance(value, AIMessage) else value.type, "content": value.text}
    if hasattr(value, "model_dump"):
        return value.model_dump(mode="json")
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value
