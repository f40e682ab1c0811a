"""JSON as a type, and reading it as if it came from an enemy."""

import json
from collections.abc import Mapping, Sequence
from typing import NoReturn, TypeAlias

Json: TypeAlias = None | bool | int | float | str | Sequence["Json"] | Mapping[str, "Json"]


class NotJson(ValueError):
    """The bytes or the value are not JSON; the message says why in a few words."""


def dump(value: object) -> bytes:
    """Return `value` as one line of UTF-8 JSON.

    Raises:
        NotJson: `value` holds something JSON has no word for (an object, NaN, a key that is no string), or is nested
            too deeply.
    """
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise NotJson(str(error)) from error


def parse(line: bytes) -> Json:
    """Return the value of one line of JSON.

    Raises:
        NotJson: Not UTF-8, not JSON, a duplicate key, NaN or Infinity, a number too long, or nested too deeply.
    """
    try:
        value: Json = json.loads(
            line.decode(), parse_constant=_refuse_constant, object_pairs_hook=_refuse_duplicates
        )
    except (ValueError, RecursionError) as error:
        raise NotJson(str(error) or type(error).__name__) from error
    return value


def _refuse_constant(name: str) -> NoReturn:
    raise NotJson(f"{name} is not JSON")


def _refuse_duplicates(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise NotJson("an object names one key twice")
    return result
