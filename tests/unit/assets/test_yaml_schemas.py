"""A schema that is told precisely accepts what it accepted before, and says where a value is wrong."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from orchestrator_assets import AgentComponent
from orchestrator_assets.yaml_schemas import precise

LEAVES = st.sampled_from(
    [
        {"type": "string"},
        {"type": "null"},
        {"type": "integer"},
        {"type": "integer", "minimum": 3},
        {"type": "boolean"},
        {"enum": ["a", 2]},
        {},
    ]
)


def any_of(choices: list[Any]) -> dict[str, Any]:
    return {"anyOf": choices}


def bounded_any_of(choices: list[Any]) -> dict[str, Any]:
    return {"minimum": 2, "anyOf": choices}


def array(items: Any) -> dict[str, Any]:
    return {"type": "array", "items": items}


def obj(properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "additionalProperties": False}


def deeper(schemas: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.one_of(
        st.builds(any_of, st.lists(schemas, min_size=1, max_size=3)),
        st.builds(array, schemas),
        st.builds(obj, st.dictionaries(st.sampled_from("ab"), schemas, max_size=2)),
        st.builds(bounded_any_of, st.lists(schemas, min_size=1, max_size=2)),
    )


def faults(schema: Any, value: Any) -> list[tuple[list[str | int], str]]:
    validator: Any = Draft202012Validator(schema)
    return [(list(error.absolute_path), error.message) for error in validator.iter_errors(value)]


SCHEMAS = st.recursive(LEAVES, deeper, max_leaves=6)
VALUES = st.recursive(
    st.sampled_from([None, True, "a", "b", 1, 2, 5]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("abc"), inner, max_size=2),
    max_leaves=4,
)


@settings(max_examples=400, deadline=None)
@given(schema=SCHEMAS, value=VALUES)
def test_the_same_values_are_accepted(schema: dict[str, Any], value: Any) -> None:
    assert (not faults(precise(schema), value)) == (not faults(schema, value))


def test_an_error_points_to_the_value() -> None:
    schema = AgentComponent.get_model_cls().model_json_schema()
    attributes = {"asset": {"key": "x"}, "framework": "langgraph", "limits": {"steps": -1}}
    message = "-1 is less than or equal to the minimum of 0"
    assert faults(schema, attributes) == [(["limits", "steps"], message)]


def test_a_template_may_stand_for_a_whole_value() -> None:
    attributes: dict[str, Any] = {"asset": {"key": "x"}, "framework": "langgraph"}
    for name in ("portable", "output_schema", "options", "files"):
        attributes[name] = "{{ ours }}"
    assert faults(AgentComponent.get_model_cls().model_json_schema(), attributes) == []
