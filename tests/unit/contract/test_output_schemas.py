"""The subset of JSON Schema says what `jsonschema` says, and what is outside of it is refused when an agent loads."""

import contextlib
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema.protocols import Validator

from orchestrator_runtimes.errors import AgentError
from orchestrator_runtimes.json_values import Json
from orchestrator_runtimes.output_schemas import check_schema, mismatch
from tests.unit.contract.json_schemas import schemas, values


def _validator(schema: dict[str, Any]) -> Validator:
    return jsonschema.Draft202012Validator(schema)


@settings(max_examples=300, deadline=None)
@given(schema=schemas, value=values)
def test_a_value_matches_when_jsonschema_says_so(schema: dict[str, Any], value: Json) -> None:
    check_schema(schema)
    expected = _validator(schema).is_valid(value)
    reason = mismatch(schema, value)
    assert (reason is None) == expected, reason
    if reason is not None:
        assert reason.startswith("output")


@settings(max_examples=200, deadline=None)
@given(
    schema=st.dictionaries(
        st.sampled_from(
            ["type", "enum", "anyOf", "$ref", "properties", "required", "items", "minimum", "const", "x"]
        ),
        values,
        max_size=4,
    ),
    value=values,
)
def test_any_schema_is_refused_or_usable_and_no_foreign_one_breaks(
    schema: dict[str, Any], value: Json
) -> None:
    reason = mismatch(schema, value)
    assert reason is None or reason.startswith("output")
    with contextlib.suppress(AgentError):  # and nothing else
        check_schema(schema)


REFUSED: list[tuple[dict[str, Json], str]] = [
    ({"type": "date"}, "output_schema uses 'date'"),
    ({"type": 5}, "output_schema uses 5"),
    ({"type": [["string"]]}, "output_schema uses"),
    ({"properties": {"a": {"pattern": "x"}}}, "output_schema.properties.a uses 'pattern'"),
    ({"anyOf": [{"oneOf": []}]}, "output_schema.anyOf[0] uses 'oneOf'"),
    ({"items": 5}, "output_schema.items must be a JSON Schema object"),
    ({"$ref": "#/$defs/none"}, "refers to '#/$defs/none', which is not in the schema"),
    ({"$ref": "https://example.com/schema"}, "which is not in the schema"),
    ({"$ref": 5}, "which is not in the schema"),
]


@pytest.mark.parametrize(("schema", "words"), REFUSED)
def test_what_not_every_framework_can_hold_to_is_named(schema: dict[str, Json], words: str) -> None:
    with pytest.raises(AgentError) as caught:
        check_schema(schema)
    assert words in caught.value.message


def test_a_schema_that_is_nested_too_deeply_is_refused() -> None:
    schema: dict[str, Json] = {}
    for _ in range(60):
        schema = {"items": schema}
    with pytest.raises(AgentError, match="at most 50 deep"):
        check_schema(schema)


def test_a_schema_may_refer_to_itself() -> None:
    tree: dict[str, Json] = {
        "type": "object",
        "properties": {"children": {"type": "array", "items": {"$ref": "#"}}},
        "additionalProperties": False,
    }
    check_schema(tree)
    assert mismatch(tree, {"children": [{"children": []}, {}]}) is None
    assert mismatch(tree, {"children": [{"name": 1}]}) == "output.children[0].name: not allowed"
    endless: dict[str, Json] = {"$ref": "#"}
    assert mismatch(endless, 1) == "output: nested too deeply"


@pytest.mark.parametrize("number", [float("inf"), float("nan"), 1e300])
def test_numbers_of_any_size_are_judged(number: float) -> None:
    assert (mismatch({"type": "integer"}, number) is None) is (number == 1e300)
    assert mismatch({"type": "number"}, number) is None


@pytest.mark.parametrize(
    ("schema", "value", "reason"),
    [
        ({"type": ["string", "null"]}, 1, "output: expected string or null, got 1"),
        ({"properties": {"a": {"type": "string"}}}, {"a": 1}, "output.a: expected string, got 1"),
        ({"required": ["a"]}, {}, "output: 'a' is missing"),
        ({"items": {"maximum": 3}}, [1, 5], "output[1]: maximum is 3, got 5"),
        ({"minLength": 2}, "a", "output: minLength is 2, got 1"),
        ({"enum": [1]}, True, "output: expected one of [1], got True"),
        ({"const": [1]}, [True], "output: expected [1], got [True]"),
        (
            {"anyOf": [{"type": "null"}]},
            1,
            "output: matches none of the alternatives (output: expected null, got 1)",
        ),
    ],
)
def test_the_reason_names_the_place_and_what_was_expected(
    schema: dict[str, Json], value: Json, reason: str
) -> None:
    assert mismatch(schema, value) == reason
