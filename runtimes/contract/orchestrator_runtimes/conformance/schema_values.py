"""Deterministic values that fit a JSON Schema, as tool arguments and structured output."""

import math
from collections.abc import Mapping
from typing import Final

from orchestrator_runtimes.conformance.json_tree import JsonObject, as_list, as_object, as_text

# a schema that needs itself has no finite value: below this depth nothing is made
_DEPTH: Final = 24
# below this one, whatever may be empty or null is
_DEEP: Final = 6
_PLACES: Final = frozenset({"city", "location"})
_FORMATS: Final[Mapping[str, str]] = {
    "date": "2026-01-02",
    "date-time": "2026-01-02T03:04:05Z",
    "time": "03:04:05Z",
    "email": "someone@example.com",
    "uri": "https://example.com/",
    "uuid": "00000000-0000-4000-8000-000000000000",
}


def value_for(schema: JsonObject, values: Mapping[str, object]) -> object:
    """Return a value that fits `schema`.

    Objects get their required properties, or all of them where the schema lists none as required. Strings are
    `Paris` for a city or location and `text-NAME` for a property NAME; integers are 7, numbers 7.5, within
    the schema's bounds. Not looked at: `pattern`, `not`, `if`, `uniqueItems`.

    Args:
        schema: The schema; `$ref` is followed inside it.
        values: Values by property name, at any depth, used instead of made ones and also for optional
            properties.
    """
    return _Maker(schema, values).make(schema, "value", 0)


class _Maker:
    def __init__(self, root: JsonObject, values: Mapping[str, object]) -> None:
        self._root = root
        self._values = values

    def make(self, schema: JsonObject, name: str, depth: int) -> object:
        if depth > _DEPTH:
            return None
        if "$ref" in schema:
            return self.make(self._resolved(as_text(schema["$ref"])), name, depth + 1)
        if "const" in schema:
            return schema["const"]
        if options := as_list(schema.get("enum")):
            return options[0]
        for word in ("anyOf", "oneOf"):
            if branches := [as_object(branch) for branch in as_list(schema.get(word))]:
                preferred = [
                    branch for branch in branches if (branch.get("type") == "null") == (depth > _DEEP)
                ]
                return self.make((preferred or branches)[0], name, depth + 1)
        if parts := as_list(schema.get("allOf")):
            return self.make(self._merged(schema, parts), name, depth + 1)
        return self._of_type(_type_of(schema), schema, name, depth)

    def _of_type(self, kind: str, schema: JsonObject, name: str, depth: int) -> object:
        match kind:
            case "object":
                return self._object(schema, depth)
            case "array":
                count = max(_whole(schema.get("minItems")), 0 if depth > _DEEP else 1)
                if "maxItems" in schema:
                    count = min(count, _whole(schema["maxItems"]))
                return [self.make(as_object(schema.get("items")), name, depth + 1) for _ in range(count)]
            case "integer":
                return math.ceil(_bounded(7, schema, 1))
            case "number":
                return _bounded(7.5, schema, 0.5)
            case "boolean":
                return True
            case "null":
                return None
            case _:
                return _string(schema, name)

    def _object(self, schema: JsonObject, depth: int) -> JsonObject:
        properties = as_object(schema.get("properties"))
        required = as_list(schema["required"]) if "required" in schema else list(properties)
        return {
            name: self._values[name] if name in self._values else self.make(as_object(inner), name, depth + 1)
            for name, inner in properties.items()
            if name in required or name in self._values
        }

    def _resolved(self, reference: str) -> JsonObject:
        found: object = self._root
        for part in reference.removeprefix("#").split("/"):
            if part:
                found = as_object(found).get(part.replace("~1", "/").replace("~0", "~"))
        return as_object(found)

    def _merged(self, schema: JsonObject, parts: list[object]) -> JsonObject:
        merged = {word: value for word, value in schema.items() if word != "allOf"}
        for part in map(as_object, parts):
            whole = self._resolved(as_text(part["$ref"])) if "$ref" in part else part
            properties = {**as_object(merged.get("properties")), **as_object(whole.get("properties"))}
            required = [*as_list(merged.get("required")), *as_list(whole.get("required"))]
            merged = {**merged, **whole}
            if properties:
                merged |= {"properties": properties, "required": required}
        return merged


def _type_of(schema: JsonObject) -> str:
    kind = schema.get("type")
    if isinstance(kind, list):
        names = [as_text(name) for name in as_list(schema["type"])]
        return next((name for name in names if name != "null"), "null")
    return as_text(kind) or ("object" if "properties" in schema else "string")


def _whole(value: object) -> int:
    return value if isinstance(value, int) else 0


def _bounded(preferred: float, schema: JsonObject, step: float) -> float:
    def bound(word: str, shift: float) -> float | None:
        value = schema.get(word)
        return value + shift if isinstance(value, int | float) and not isinstance(value, bool) else None

    lows = [low for low in (bound("minimum", 0), bound("exclusiveMinimum", step)) if low is not None]
    highs = [high for high in (bound("maximum", 0), bound("exclusiveMaximum", -step)) if high is not None]
    value = min([max([preferred, *lows]), *highs])
    multiple = schema.get("multipleOf")
    if isinstance(multiple, int | float) and multiple > 0:
        value = math.ceil(max(lows, default=0) / multiple) * multiple
    return value


def _string(schema: JsonObject, name: str) -> str:
    text = "Paris" if name in _PLACES else _FORMATS.get(as_text(schema.get("format")), f"text-{name}")
    text = text.ljust(_whole(schema.get("minLength")), "x")
    return text[: _whole(schema["maxLength"])] if "maxLength" in schema else text
