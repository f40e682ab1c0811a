"""Random JSON and random schemas of the subset that every framework is held to."""

from typing import Any

from hypothesis import strategies as st

from orchestrator_runtimes.json_values import Json

scalars = (
    st.none()
    | st.booleans()
    | st.integers(-3, 3)
    | st.sampled_from([0.5, 1.0, -2.0])
    | st.sampled_from("abc")
)
kinds = st.sampled_from(["object", "array", "string", "integer", "number", "boolean", "null"])


def values_of(leaves: st.SearchStrategy[Any], names: st.SearchStrategy[str]) -> st.SearchStrategy[Any]:
    """JSON whose keys are of `names`."""
    return st.recursive(
        leaves,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
        max_leaves=6,
    )


def schemas_of(
    values: st.SearchStrategy[Any], names: st.SearchStrategy[str]
) -> st.SearchStrategy[dict[str, Json]]:
    """Schemas with two definitions, which speak of `values` and of properties of `names`."""

    def node(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
        return st.fixed_dictionaries(
            {},
            optional={
                "type": kinds | st.lists(kinds, min_size=1, max_size=3, unique=True),
                "enum": st.lists(values, min_size=1, max_size=3),
                "const": values,
                "anyOf": st.lists(inner, min_size=1, max_size=3),
                "properties": st.dictionaries(names, inner, max_size=3),
                "required": st.lists(names, max_size=2, unique=True),
                "additionalProperties": st.booleans() | inner,
                "items": inner,
                "minItems": st.integers(0, 2),
                "maxItems": st.integers(0, 3),
                "minLength": st.integers(0, 2),
                "maxLength": st.integers(0, 2),
                "minimum": st.integers(-2, 2),
                "maximum": st.sampled_from([-1, 0.75, 2]),
                "$ref": st.sampled_from(["#/$defs/one", "#/$defs/a~1b"]),
                "description": st.just("words"),
            },
        )

    nodes = st.recursive(st.booleans() | node(st.booleans()), node, max_leaves=4)
    plain = st.booleans() | st.fixed_dictionaries({"type": kinds})
    return st.builds(_schema, nodes, plain, plain)


def _schema(node: Json, one: Json, two: Json) -> dict[str, Json]:
    return {"anyOf": [node], "$defs": {"one": one, "a/b": two}}


names = st.sampled_from("abc")
values = values_of(scalars, names)
schemas = schemas_of(values, names)
