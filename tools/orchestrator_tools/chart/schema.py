"""The schema of the chart's values, from their models: Helm refuses what does not fit before anything is installed."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeGuard

from pydantic.json_schema import GenerateJsonSchema

from orchestrator_tools.chart.documented import described, summary
from orchestrator_tools.chart.values import Values

Schema = dict[str, Any]

DRAFT: Final = "https://json-schema.org/draft/2020-12/schema"
GLOBAL: Final = {"type": "object", "description": "Helm's own, for charts that have this one inside."}

NAME: Final = "NAME"
"""In a path: any key of a mapping."""
ITEM: Final = "[]"
"""In a path: any item of a list."""


@dataclass(frozen=True, kw_only=True)
class Value:
    """One value that can be set.

    Attributes:
        path: Keys that lead to it.
        schema: Of what it may be, references resolved.
        description: What it is.
        required: Whether it has to be set where what it is part of is set.
        default: What it is otherwise.
    """

    path: tuple[str, ...]
    schema: Schema
    description: str
    required: bool
    default: Any


class _Described(GenerateJsonSchema):
    """Adds what docstrings say, and refuses other keys than those of a model, a dataclass or a pattern."""

    def model_schema(self, schema: Any) -> Schema:
        return _completed(super().model_schema(schema), schema["cls"])

    def dataclass_schema(self, schema: Any) -> Schema:
        return _completed(super().dataclass_schema(schema), schema["cls"])

    def dict_schema(self, schema: Any) -> Schema:
        made = super().dict_schema(schema)
        return {**made, "additionalProperties": False} if "patternProperties" in made else made


def values_schema() -> Schema:
    """Return the JSON schema of the values, in which everything has a description.

    Raises:
        NotDescribed: Something has none.
    """
    schema = Values.model_json_schema(by_alias=True, schema_generator=_Described)
    return {"$schema": DRAFT, **schema, "properties": {**schema["properties"], "global": GLOBAL}}


def values(schema: Schema, apart: Collection[str] = ()) -> Iterator[Value]:
    """Yield each value that can be set, in order, those of mappings and lists among them.

    Args:
        schema: Of the chart's values.
        apart: Names of definitions whose parts are left out.
    """
    yield from _values(schema, schema["$defs"], frozenset(apart), (), {})


def parts_of(schema: Schema, name: str) -> Iterator[Value]:
    """Yield each value of a definition, by its name."""
    definitions = schema["$defs"]
    yield from _values(definitions[name], definitions, frozenset(), (), {})


def _values(
    schema: Schema,
    definitions: Mapping[str, Schema],
    apart: Collection[str],
    path: tuple[str, ...],
    defaults: Mapping[str, Any],
) -> Iterator[Value]:
    for key, part in schema["properties"].items():
        if part is GLOBAL:
            continue
        found = Value(
            path=(*path, key),
            schema=_resolved(part, definitions),
            description=part["description"],
            required=key in schema.get("required", ()) and key not in defaults,
            default=defaults.get(key, part.get("default")),
        )
        if "properties" not in found.schema:
            yield found
        for name, inner, step in _inside(part, definitions, found.path):
            if name not in apart:
                own = found.default if _is_mapping(found.default) else {}
                yield from _values(inner, definitions, apart, step, own)


def _inside(
    part: Schema, definitions: Mapping[str, Schema], path: tuple[str, ...]
) -> Iterator[tuple[str, Schema, tuple[str, ...]]]:
    """Yield the name and the schema of what has keys of its own in a part, and the path that leads there."""
    if "$ref" in part:
        resolved = _resolved(part, definitions)
        if "properties" in resolved:
            yield part["$ref"].rpartition("/")[2], resolved, path
    for one in part.get("anyOf", ()):
        yield from _inside(one, definitions, path)
    elements: list[Any] = [*part.get("patternProperties", {}).values(), part.get("additionalProperties")]
    for one, word in (*((element, NAME) for element in elements), (part.get("items"), ITEM)):
        if _is_mapping(one):
            yield from _inside(one, definitions, (*path, word))


def _resolved(part: Schema, definitions: Mapping[str, Schema]) -> Schema:
    reference = part.get("$ref")
    return part if reference is None else definitions[reference.rpartition("/")[2]]


def _without_null(value: Any) -> Any:
    """Return a value without what is null: Helm treats both alike in a mapping, not inside a list."""
    if _is_mapping(value):
        return {key: _without_null(one) for key, one in value.items() if one is not None}
    return [_without_null(one) for one in value] if _is_list(value) else value


def _is_mapping(value: Any) -> TypeGuard[Schema]:
    return isinstance(value, dict)


def _is_list(value: Any) -> TypeGuard[list[Any]]:
    return isinstance(value, list)


def _completed(schema: Schema, kind: type) -> Schema:
    texts = described(kind)
    by_alias = {
        field.alias or name: texts[name] for name, field in getattr(kind, "model_fields", {}).items()
    } or texts
    properties = {
        name: {
            **{
                key: _without_null(value) if key == "default" else value
                for key, value in part.items()
                if key != "title"
            },
            "description": by_alias[name],
        }
        for name, part in schema.get("properties", {}).items()
    }
    rest = {key: value for key, value in schema.items() if key not in ("title", "description", "properties")}
    return {"description": summary(kind), **rest, "additionalProperties": False, "properties": properties}
