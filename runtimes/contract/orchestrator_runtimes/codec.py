"""Messages as frozen dataclasses: to JSON, from hostile JSON, and to JSON Schema, all from their type hints.

Readers ignore keys they do not know, so that a newer peer of the same major version can add some. What people write,
such as a configuration file, is read strictly: there an unknown key is a mistake.
"""

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, Field, fields, is_dataclass
from enum import StrEnum
from types import NoneType, UnionType
from typing import Any, Final, Literal, TypeVar, cast, get_args, get_origin

from orchestrator_runtimes.json_values import Json

T = TypeVar("T")


class InvalidMessage(ValueError):
    """A message does not have the shape of its kind; the text names the place and what was expected."""


class UnknownKind(InvalidMessage):
    """A value is of a kind that is not known here; a newer peer of the same major version may have added it."""


def encode(message: object) -> dict[str, Json]:
    """Return a message dataclass as a JSON object; fields that are None are left out where the reader allows it."""
    result: dict[str, Json] = {}
    for field in fields(message):  # type: ignore[arg-type]  # every message is a dataclass; checked by the tests
        value = getattr(message, field.name)
        if value is not None or _required(field):
            result[field.name] = _encode(value)
    return result


def _encode(value: Any) -> Json:
    if is_dataclass(value):
        return encode(value)
    if isinstance(value, StrEnum):
        return value.value
    if isinstance(value, tuple | list):
        return [_encode(item) for item in cast("Sequence[object]", value)]
    if isinstance(value, Mapping):
        return {str(key): _encode(item) for key, item in cast("Mapping[object, object]", value).items()}
    result: Json = value
    return result


def decode(kind: type[T], value: Json, where: str = "message", *, strict: bool = False) -> T:
    """Return `value` as the message dataclass `kind`.

    Args:
        kind: What it is to be.
        value: As it was read.
        where: Its place, which the text of an error begins with; may be empty.
        strict: Whether a key that is not known is an error, here and in what it holds.

    Raises:
        InvalidMessage: A key is missing or a value has the wrong type; the text names it.
    """
    if not isinstance(value, Mapping):
        raise InvalidMessage(f"{where}: expected an object, got {_name(value)}")
    if strict:
        _refuse_unknown(kind, value, where)
    found: dict[str, Any] = {}
    for field in fields(kind):  # type: ignore[arg-type]  # as above
        place = f"{where}.{field.name}" if where else field.name
        if field.name in value:
            found[field.name] = _decode(field.type, value[field.name], place, strict)
        elif _required(field):
            raise InvalidMessage(f"{place}: missing")
    try:
        return kind(**found)
    except ValueError as error:
        raise InvalidMessage(f"{where}: {error}") from error


def _refuse_unknown(kind: type[object], value: Mapping[str, Json], where: str) -> None:
    known = [field.name for field in fields(kind)]  # type: ignore[arg-type]  # as above
    for key in value:
        if key not in known:
            near = difflib.get_close_matches(str(key), known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(known)}"
            raise InvalidMessage(f"{where + ': ' if where else ''}unknown key {key!r:.80}; {hint}")


def _required(field: "Field[Any]") -> bool:
    return field.default is MISSING and field.default_factory is MISSING


def _decode(hint: Any, value: Json, place: str, strict: bool) -> Any:
    if hint is Json:
        return value
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is UnionType:
        if value is None and NoneType in arguments:
            return None
        return _decode(_member(arguments, value, place), value, place, strict)
    if origin is Literal:
        if value not in arguments or isinstance(value, bool):
            raise InvalidMessage(f"{place}: expected one of {list(arguments)}, got {value!r:.80}")
        return value
    if origin is tuple:
        if not isinstance(value, list):
            raise InvalidMessage(f"{place}: expected an array, got {_name(value)}")
        return tuple(_decode(arguments[0], item, f"{place}[{i}]", strict) for i, item in enumerate(value))
    if origin is not None and issubclass(origin, Mapping):
        if not isinstance(value, Mapping):
            raise InvalidMessage(f"{place}: expected an object, got {_name(value)}")
        return {key: _decode(arguments[1], item, f"{place}.{key}", strict) for key, item in value.items()}
    if is_dataclass(hint):
        return decode(hint, value, place, strict=strict)  # type: ignore[arg-type]  # is_dataclass also allows instances
    return _decode_plain(hint, value, place)


def _decode_plain(hint: Any, value: Json, place: str) -> Any:
    if issubclass(hint, StrEnum):
        try:
            return hint(value)
        except ValueError:
            raise InvalidMessage(
                f"{place}: expected one of {[m.value for m in hint]}, got {value!r:.80}"
            ) from None
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return _as_float(value, place)
    if isinstance(value, hint) and not (isinstance(value, bool) and hint is not bool):
        return value
    raise InvalidMessage(f"{place}: expected {_WORDS[hint]}, got {_name(value)}")


def _as_float(value: int, place: str) -> float:
    try:
        return float(value)
    except OverflowError:
        raise InvalidMessage(f"{place}: number too large") from None


def _member(members: tuple[Any, ...], value: Json, place: str) -> Any:
    """Choose the member of a union: the only one beside None, or the dataclass whose `kind` the value names."""
    rest = [m for m in members if m is not NoneType]
    if len(rest) == 1:
        return rest[0]
    kind = value.get("kind") if isinstance(value, Mapping) else None
    if not isinstance(kind, str):
        raise InvalidMessage(f"{place}: expected an object with a kind, got {_name(value)}")
    for member in rest:
        if kind in get_args(_kind_of(member)):
            return member
    raise UnknownKind(f"{place}: unknown kind {kind!r:.80}")


def _kind_of(member: Any) -> Any:
    return next(field.type for field in fields(member) if field.name == "kind")


_WORDS: Final[Mapping[type[object], str]] = {
    str: "a string",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
}


def _name(value: Json) -> str:
    return "null" if value is None else _WORDS.get(type(value), type(value).__name__)


def schema(kind: type[object], definitions: dict[str, Json]) -> dict[str, Json]:
    """Return a JSON Schema reference to `kind`, adding it and what it needs to `definitions`."""
    if kind.__name__ not in definitions:
        definitions[kind.__name__] = {}
        members = fields(kind)  # type: ignore[arg-type]  # as above
        definitions[kind.__name__] = {
            "type": "object",
            "description": (kind.__doc__ or "").partition("\n")[0],
            "properties": {field.name: _schema(field.type, definitions) for field in members},
            "required": [field.name for field in members if _required(field)],
        }
    return {"$ref": f"#/$defs/{kind.__name__}"}


def _schema(hint: Any, definitions: dict[str, Json]) -> Json:
    if hint is Json:
        return True
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is UnionType:
        return {"anyOf": [_schema(member, definitions) for member in arguments]}
    if origin is Literal:
        return {"enum": list(arguments)}
    if origin is tuple:
        return {"type": "array", "items": _schema(arguments[0], definitions)}
    if origin is not None and issubclass(origin, Mapping):
        return {"type": "object", "additionalProperties": _schema(arguments[1], definitions)}
    if is_dataclass(hint):
        return schema(hint, definitions)  # type: ignore[arg-type]  # is_dataclass also allows instances
    if issubclass(hint, StrEnum):
        return {"enum": [member.value for member in hint]}
    return {"type": {str: "string", int: "integer", float: "number", bool: "boolean", NoneType: "null"}[hint]}
