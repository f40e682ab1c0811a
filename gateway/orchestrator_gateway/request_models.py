"""The model that a request names, and the same request with another name: every other byte stays as it is."""

import json
from collections.abc import Mapping
from typing import Final

from orchestrator_runtimes.json_values import Json

_DECODER: Final = json.JSONDecoder()
_SPACE: Final = " \t\n\r"


def model_of(body: Json) -> str | None:
    """Return the model that a parsed request names; None when it names none."""
    model = body.get("model") if isinstance(body, Mapping) else None
    return model if isinstance(model, str) else None


def with_model(content: bytes, model: str) -> bytes:
    """Return a request with another model.

    Args:
        content: A JSON object with the key `model` once, which `json_values.parse` has read.
        model: The new name.

    Raises:
        ValueError: It is no such object.
    """
    text = content.decode()
    at = _after_space(text, 0)
    if text[at : at + 1] != "{":
        raise ValueError("no object")
    while True:
        key, at = _DECODER.raw_decode(text, _after_space(text, at + 1))
        begin = _after_space(text, _after_space(text, at) + 1)
        _, end = _DECODER.raw_decode(text, begin)
        if key == "model":
            return f"{text[:begin]}{json.dumps(model)}{text[end:]}".encode()
        at = _after_space(text, end)
        if text[at : at + 1] != ",":
            raise ValueError("the key 'model' is missing")


def _after_space(text: str, at: int) -> int:
    while text[at : at + 1] and text[at] in _SPACE:
        at += 1
    return at
