"""Typed reading of decoded JSON whose shape is not known: a wrong type reads as empty."""

from typing import cast

JsonObject = dict[str, object]


def as_object(value: object) -> JsonObject:
    """Return `value` when it is a JSON object, else an empty one."""
    return cast(JsonObject, value) if isinstance(value, dict) else {}


def as_list(value: object) -> list[object]:
    """Return `value` when it is a JSON array, else an empty one."""
    return cast("list[object]", value) if isinstance(value, list) else []


def as_text(value: object) -> str:
    """Return `value` when it is a JSON string, else an empty one."""
    return value if isinstance(value, str) else ""
