"""The state of a session, as text: the turns of a conversation, or a flow's state."""

import json
from typing import Any, Final

from pydantic import BaseModel

TURNS_KEPT: Final = 20
"""Turns of a conversation that are kept, and told with each request."""

Message = dict[str, str]


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
