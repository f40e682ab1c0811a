"""JSON Schemas for `dg check yaml` that name the very value that is wrong.

Dagster makes every field `its type | str`, since any value may be a template. A validator then says of a wrong limit
only that the whole of `limits` matches none of two schemas. Told as `if ... else`, the same schema leads to the limit.
"""

from collections.abc import Collection, Sequence
from typing import Any, Final, TypeAlias, cast

from pydantic import BaseModel

Schema: TypeAlias = dict[str, Any]

UNSET: Final = "__DAGSTER_UNSET_DEFAULT__"
"""What Dagster's schemas show in place of a default that is no plain value."""


def precise(schema: object) -> Any:
    """Return a schema that accepts the same values and whose errors point as deep as they can.

    An `anyOf` is turned into `if` and `else` where all alternatives but one are told apart by their type alone, and
    dropped where there is only one alternative.
    """
    if isinstance(schema, list):
        return [precise(part) for part in cast("list[object]", schema)]
    if not isinstance(schema, dict):
        return schema
    told: Schema = {key: precise(part) for key, part in cast("Schema", schema).items()}
    choices = cast("list[Schema]", told.get("anyOf", []))
    if len(choices) == 1 and not choices[0].keys() & told.keys():
        del told["anyOf"]
        return told | choices[0]
    kinds = [choice["type"] for choice in choices if choice.keys() == {"type"}]
    rest = [choice for choice in choices if choice.keys() != {"type"}]
    if not kinds or len(rest) != 1 or {"if", "then", "else"} & told.keys():
        return told
    del told["anyOf"]
    return told | {"if": {"type": kinds}, "else": rest[0]}


def documented(schema: Schema, *specs: type[BaseModel]) -> None:
    """Give a schema the descriptions and examples that its fields have in Python; Dagster leaves most of them out."""
    places: Schema = {f"{spec.__name__}Model": spec for spec in specs}
    for title, node in {"": schema, **schema["$defs"]}.items():
        spec = places.get(title or f"{specs[0].__name__}Model")
        for name, field in spec.model_fields.items() if spec is not None else ():
            told: Schema = node["properties"][name]
            told["description"] = field.description
            if field.examples:
                told["examples"] = field.examples
            if told.get("default") == UNSET:
                del told["default"]


def told_to_users(
    model: type[BaseModel], *, specs: Sequence[type[BaseModel]], whole: Collection[str]
) -> type[BaseModel]:
    """Return a model that is the same but for its JSON Schema, which is `precise` and `documented`.

    Args:
        model: What Dagster derived from the component.
        specs: The component first, and the specifications inside of it.
        whole: Fields of the component that no template stands for as a whole; their parts may be templates.
    """

    def model_json_schema(**options: Any) -> Schema:
        schema = model.model_json_schema(**options)
        for name in whole:
            field = schema["properties"][name]
            field["anyOf"] = [choice for choice in field["anyOf"] if choice != {"type": "string"}]
        told: Schema = precise(schema)
        documented(told, *specs)
        return told

    return type(model.__name__, (model,), {"model_json_schema": staticmethod(model_json_schema)})
