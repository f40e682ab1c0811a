"""JSON as a type, and reading it as if it came from an enemy."""

import json
import math
from collections.abc import Mapping, Sequence
from typing import NoReturn, TypeAlias

Json: TypeAlias = bool | int | float | str | Sequence["Json"] | Mapping[str, "Json"] | None


class NotJson(ValueError):
    """The bytes or the value are not JSON; the message says why in a few words."""


def dump(value: object) -> bytes:
    """Return `value` as one line of UTF-8 JSON.

    Halves of surrogate pairs, which models stream one by one, are joined; those without the other half become U+FFFD.

    Raises:
        NotJson: `value` holds something JSON has no word for (an object, NaN, a key that is no string), or is nested
            too deeply.
    """
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        try:
            return text.encode()
        except UnicodeEncodeError:
            return whole_characters(text).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise NotJson(str(error)) from error


def whole_characters(text: str) -> str:
    """Return `text` with surrogate pairs joined, and U+FFFD for each half without the other."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def parse(line: bytes) -> Json:
    """Return the value of one line of JSON.

    Raises:
        NotJson: Not UTF-8, not JSON, a duplicate key, NaN or Infinity, a number too long or too
            large, or nested too deeply.
    """
    try:
        value: Json = json.loads(
            line.decode(),
            parse_float=_finite,
            parse_constant=_refuse_constant,
            object_pairs_hook=_refuse_duplicates,
        )
    except (ValueError, RecursionError) as error:
        raise NotJson(str(error) or type(error).__name__) from error
    return value


def _finite(digits: str) -> float:
    number = float(digits)
    if math.isinf(number):
        raise NotJson(f"the number {digits[:40]} is too large")
    return number


def _refuse_constant(name: str) -> NoReturn:
    raise NotJson(f"{name} is not JSON")


def _refuse_duplicates(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise NotJson("an object names one key twice")
    return result
