"""The state of a session: the messages of its last turns, as text.

LightAgent's own sessions send results of tools without the calls that they answer, which model endpoints refuse.
"""

import json
from collections.abc import Sequence
from typing import Any, Final

TURNS_KEPT: Final = 20
"""Turns of a session that are kept, and sent with each request."""

Messages = list[dict[str, Any]]


def load_turns(text: str | None) -> list[Messages]:
    """Return the turns that `dump_turns` told; none for None."""
    return json.loads(text) if text is not None else []


def dump_turns(turns: Sequence[Messages]) -> str:
    """Return the last turns as text."""
    return json.dumps(turns[-TURNS_KEPT:])


def turn(messages: Sequence[Any], question: str, answer: str) -> Messages:
    """Return the messages of the turn that ends with `answer`.

    Args:
        messages: What the model was sent last, dictionaries and objects of its SDK; from its last user message on it
            belongs to the turn. Without one the turn is question and answer alone.
        question: What the user said.
        answer: What was answered.
    """
    plain = [
        message if isinstance(message, dict) else message.model_dump(mode="json", exclude_none=True)
        for message in messages
    ]
    begins = max((at for at, message in enumerate(plain) if message["role"] == "user"), default=None)
    asked = [{"role": "user", "content": question}] if begins is None else plain[begins:]
    return [*asked, {"role": "assistant", "content": answer}]
