"""The state of a session, as text: the turns of a conversation, a flow's state, or what waits for a human."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from pydantic import BaseModel

from orchestrator_runtimes.json_values import Json

TURNS_KEPT: Final = 20
"""Turns of a conversation that are kept, and told with each request."""

Message = dict[str, str]

_WAITING: Final = "waits for a human"
"""The one key of a state that waits; no flow's state has it, since it is no name of a field."""


@dataclass(frozen=True, kw_only=True)
class Waiting:
    """An execution that runs again and again, each time with one more decision.

    Attributes:
        inputs: Of its first run.
        state: Of the session before it; None when that was new.
        decisions: By name of the question.
        question: Name of that which it waits for; None before it asks.
    """

    inputs: Json
    state: str | None
    decisions: Mapping[str, Json] = field(default_factory=dict[str, Json])
    question: str | None = None


def dump_waiting(waiting: Waiting) -> str:
    """Return an execution that waits as the state of its session."""
    return json.dumps({_WAITING: asdict(waiting)})


def load_waiting(text: str | None) -> Waiting | None:
    """Return the execution that waits in a session; None when none does."""
    told = json.loads(text) if text is not None else None
    return Waiting(**told[_WAITING]) if isinstance(told, dict) and _WAITING in told else None


def load_messages(text: str | None) -> list[Message]:
    """Return the messages that `dump_messages` told; none for None."""
    return json.loads(text) if text is not None else []


def dump_messages(messages: list[Message], question: str, answer: str) -> str:
    """Return a conversation with one more turn as text; the oldest turns are forgotten."""
    turn = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    return json.dumps([*messages, *turn][-2 * TURNS_KEPT :])


def load_flow_state(text: str | None) -> dict[str, Any]:
    """Return a flow's state as inputs for its next run; none for None."""
    return json.loads(text) if text is not None else {}


def dump_flow_state(state: Any) -> str:
    """Return a flow's state as text."""
    return json.dumps(state.model_dump(mode="json") if isinstance(state, BaseModel) else dict(state))
