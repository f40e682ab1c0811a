"""Values that fit a schema: the least that does, and others than those."""

import re
from collections.abc import Mapping
from typing import Any, Final

from orchestrator_tools.chart.schema import ITEM, NAME, Schema, Value

_TEXTS: Final = (
    "some-text",
    "other-text",
    "2Gi",
    "64Mi",
    "/some/path",
    "/other",
    "some_module",
    "other_module",
    "a.b/c",
    "d.e/f",
    "a-cluster:9464",
    "a.example/b",
    "c.example/d",
    "-----BEGIN CERTIFICATE-----",
    "-----BEGIN CERTIFICATE----- other",
    "-----BEGIN PUBLIC KEY-----",
    "-----BEGIN PUBLIC KEY----- other",
)


class Samples:
    """Makes values.

    Args:
        schema: Of all values of the chart.
    """

    def __init__(self, schema: Schema) -> None:
        """Make none yet."""
        self._schema = schema
        self._definitions: Mapping[str, Schema] = schema["$defs"]

    def with_value(self, values: Any, value: Value, chosen: Any) -> Any:
        """Return values in which one is set; what it is part of is made, with the least that it needs.

        Args:
            values: Left as they are.
            value: Which.
            chosen: To what; None leaves it unset where it may be.
        """
        return self._placed(values, self._schema, value.path, chosen)

    def two(self, schema: Schema) -> tuple[Any, Any]:
        """Return two values that fit."""
        schema = self._plain(schema)
        if "enum" in schema:
            return schema["enum"][0], schema["enum"][1]
        match schema.get("type"):
            case "boolean":
                return False, True
            case "integer" | "number":
                least = int(schema.get("minimum") or schema.get("exclusiveMinimum") or 0)
                return least + 1, least + 2
            case "string":
                pattern = re.compile(schema.get("pattern", ""))
                fitting = [text for text in _TEXTS if pattern.search(text)]
                return fitting[0], fitting[1]
            case "array":
                return [self.two(schema["items"])[0]], [self.two(schema["items"])[1]]
            case _:
                return self._mapping(schema, 0), self._mapping(schema, 1)

    def _mapping(self, schema: Schema, number: int) -> Any:
        if "properties" in schema:
            needed = schema.get("required") or ([] if number == 0 else list(schema["properties"])[:1])
            return {key: self.two(schema["properties"][key])[number] for key in needed}
        return {"some": self.two(_held(schema))[number] if _held(schema) else number}

    def _placed(self, old: Any, schema: Schema, path: tuple[str, ...], chosen: Any) -> Any:
        if not path:
            return chosen
        key, *rest = path
        schema = self._plain(schema)
        if key == ITEM:
            items: list[Any] = list(old or ())
            first = items[0] if items else None
            return [self._placed(first, schema["items"], tuple(rest), chosen), *items[1:]]
        made: dict[str, Any] = {**old} if old else self._mapping(schema, 0)
        if key == NAME:
            key = next(iter(made), "some")
            inside = _held(schema)
        else:
            inside = schema["properties"][key]
        if not rest and chosen is None:
            made.pop(key, None)
        else:
            made[key] = self._placed(made.get(key), inside, tuple(rest), chosen)
        return made

    def _plain(self, schema: Schema) -> Schema:
        """Return a schema without references and without null."""
        if "$ref" in schema:
            schema = self._definitions[schema["$ref"].rpartition("/")[2]]
        for one in schema.get("anyOf", ()):
            if one.get("type") != "null":
                return self._plain(one)
        return schema


def _held(schema: Schema) -> Schema:
    """Return what a mapping holds; empty where that may be anything."""
    held: Any = next(iter(schema.get("patternProperties", {}).values()), schema.get("additionalProperties"))
    return {} if isinstance(held, bool) else held
