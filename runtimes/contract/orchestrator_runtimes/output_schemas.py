"""The subset of JSON Schema that every framework can be held to, and checking values against it.

A guest has no dependencies of ours, and a schema must mean the same in six frameworks: so the keywords are few, and a
schema with another one is refused when the agent loads rather than ignored when it answers.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Final, TypeGuard

from orchestrator_runtimes.errors import AgentError, ErrorCode
from orchestrator_runtimes.json_values import Json

Schema = Mapping[str, Json]

_ANNOTATIONS: Final = {
    "title",
    "description",
    "default",
    "examples",
    "$schema",
    "$defs",
    "definitions",
    "format",
}
_KEYWORDS: Final = {
    "type", "enum", "const", "anyOf", "$ref", "properties", "required", "additionalProperties", "items",
    "minItems", "maxItems", "minLength", "maxLength", "minimum", "maximum",
}  # fmt: skip


def _is_number(value: Json) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


_TYPES: Final[Mapping[str, Callable[[Json], bool]]] = {
    "object": lambda value: isinstance(value, Mapping),
    "array": lambda value: isinstance(value, list | tuple),
    "string": lambda value: isinstance(value, str),
    "integer": lambda value: (
        (isinstance(value, int) and not isinstance(value, bool))
        or (isinstance(value, float) and value.is_integer())
    ),
    "number": _is_number,
    "boolean": lambda value: isinstance(value, bool),
    "null": lambda value: value is None,
}
_DEPTH: Final = 50


def check_schema(schema: Schema, where: str = "output_schema") -> None:
    """Refuse a schema outside the subset.

    Raises:
        AgentError: `agent_load_failed`, naming the place and the keyword.
    """
    for place, node in _nodes(schema, where, 0):
        unknown = sorted(set(node) - _KEYWORDS - _ANNOTATIONS)
        kinds = node.get("type", [])
        wrong = [k for k in (kinds if isinstance(kinds, list | tuple) else [kinds]) if not _is_type(k)]
        if unknown or wrong:
            raise AgentError(
                ErrorCode.AGENT_LOAD_FAILED,
                f"{place} uses {(unknown or wrong)[0]!r:.100}, which not every framework can hold to;"
                f" the keywords are {', '.join(sorted(_KEYWORDS))}",
            )
        if "$ref" in node and _resolve(schema, node["$ref"]) is None:
            raise AgentError(
                ErrorCode.AGENT_LOAD_FAILED,
                f"{place} refers to {node['$ref']!r:.100}, which is not in the schema",
            )


def _nodes(node: Json, where: str, depth: int) -> list[tuple[str, Schema]]:
    if node is True or node is False:
        return []
    if not isinstance(node, Mapping) or depth > _DEPTH:
        raise AgentError(
            ErrorCode.AGENT_LOAD_FAILED, f"{where} must be a JSON Schema object, nested at most {_DEPTH} deep"
        )
    found = [(where, node)]
    for key in ("properties", "$defs", "definitions"):
        for name, child in _mapping(node.get(key)).items():
            found += _nodes(child, f"{where}.{key}.{name}", depth + 1)
    for key in ("items", "additionalProperties"):
        if key in node:
            found += _nodes(node[key], f"{where}.{key}", depth + 1)
    for number, child in enumerate(_list(node.get("anyOf"))):
        found += _nodes(child, f"{where}.anyOf[{number}]", depth + 1)
    return found


def mismatch(schema: Schema, value: Json) -> str | None:
    """Return the first reason why `value` does not match `schema`; None when it does.

    The schema may be a foreign one, such as that of an MCP server's tool: what is outside the subset does not count.
    """
    return _mismatch(schema, value, "output", schema, 0)


def _mismatch(node: Json, value: Json, place: str, root: Schema, depth: int) -> str | None:
    if node is True or not isinstance(node, Mapping):
        return f"{place}: not allowed" if node is False else None
    if depth > _DEPTH:
        return f"{place}: nested too deeply"
    target = _resolve(root, node.get("$ref"))
    if target is not None and (reason := _mismatch(target, value, place, root, depth + 1)):
        return reason
    kinds = node.get("type")
    allowed = [kinds] if isinstance(kinds, str) else _list(kinds)
    if allowed and all(map(_is_type, allowed)) and not any(_TYPES[str(kind)](value) for kind in allowed):
        return f"{place}: expected {' or '.join(map(str, allowed))}, got {_short(value)}"
    if "enum" in node and not any(_same(value, choice) for choice in _list(node["enum"])):
        return f"{place}: expected one of {_short(node['enum'])}, got {_short(value)}"
    if "const" in node and not _same(value, node["const"]):
        return f"{place}: expected {_short(node['const'])}, got {_short(value)}"
    if choices := _list(node.get("anyOf")):
        reasons = [_mismatch(choice, value, place, root, depth + 1) for choice in choices]
        if all(reasons):
            return f"{place}: matches none of the alternatives ({reasons[0]})"
    return _bounds(node, value, place) or _children(node, value, place, root, depth)


def _bounds(node: Schema, value: Json, place: str) -> str | None:
    size: float | None = None
    low, high = "minimum", "maximum"
    if isinstance(value, str):
        size, low, high = len(value), "minLength", "maxLength"
    elif isinstance(value, list | tuple):
        size, low, high = len(value), "minItems", "maxItems"
    elif _is_number(value):
        size = value
    least, most = node.get(low), node.get(high)
    if size is not None and _is_number(least) and size < least:
        return f"{place}: {low} is {least}, got {size}"
    if size is not None and _is_number(most) and size > most:
        return f"{place}: {high} is {most}, got {size}"
    return None


def _children(node: Schema, value: Json, place: str, root: Schema, depth: int) -> str | None:
    if isinstance(value, Mapping):
        properties = _mapping(node.get("properties"))
        for name in _list(node.get("required")):
            if isinstance(name, str) and name not in value:
                return f"{place}: {name!r} is missing"
        for name, item in value.items():
            child = properties.get(name, node.get("additionalProperties", True))
            if reason := _mismatch(child, item, f"{place}.{name}", root, depth + 1):
                return reason
    elif isinstance(value, list | tuple) and "items" in node:
        for number, item in enumerate(value):
            if reason := _mismatch(node["items"], item, f"{place}[{number}]", root, depth + 1):
                return reason
    return None


def _resolve(root: Schema, reference: Json) -> Json:
    """Return the schema that a reference inside the document names; None when it names none."""
    if not isinstance(reference, str) or not (reference == "#" or reference.startswith("#/")):
        return None
    node: Json = root
    for part in reference.split("/")[1:]:
        node = _mapping(node).get(part.replace("~1", "/").replace("~0", "~"))
    return node if isinstance(node, Mapping | bool) else None


def _is_type(kind: Json) -> bool:
    return isinstance(kind, str) and kind in _TYPES


def _mapping(node: Json) -> Mapping[str, Json]:
    return node if isinstance(node, Mapping) else {}


def _list(node: Json) -> Sequence[Json]:
    return node if isinstance(node, list | tuple) else ()


def _same(one: Json, other: Json) -> bool:
    """Compare as JSON does: 1 is 1.0, and true is not 1, at any depth."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(_same(item, other[key]) for key, item in one.items())
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(_same, one, other))
    return isinstance(one, bool) == isinstance(other, bool) and one == other


def _short(value: Json) -> str:
    return f"{value!r:.100}"
