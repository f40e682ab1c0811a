"""What a tool's type hints tell the model, and which hints JSON cannot carry."""

import enum
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Literal, Optional

import jsonschema
import pytest

from orchestrator_runtimes.errors import AgentError, ErrorCode
from orchestrator_runtimes.function_schemas import parameters_schema
from orchestrator_runtimes.json_values import Json


def _schema_of(hint: Any) -> Json:
    def tool(value: str) -> None: ...

    tool.__annotations__["value"] = hint
    schema = parameters_schema(tool, "tool")
    jsonschema.Draft202012Validator.check_schema(schema)
    properties = schema["properties"]
    assert isinstance(properties, Mapping)
    return properties["value"]


@pytest.mark.parametrize(
    ("hint", "schema"),
    [
        (str, {"type": "string"}),
        (int, {"type": "integer"}),
        (float, {"type": "number"}),
        (bool, {"type": "boolean"}),
        (None, {"type": "null"}),
        (list, {"type": "array"}),
        (dict, {"type": "object"}),
        (list[int], {"type": "array", "items": {"type": "integer"}}),
        (Sequence[str], {"type": "array", "items": {"type": "string"}}),
        (tuple[int, ...], {"type": "array", "items": {"type": "integer"}}),
        (dict[str, float], {"type": "object", "additionalProperties": {"type": "number"}}),
        (
            Mapping[str, list[str]],
            {"type": "object", "additionalProperties": {"type": "array", "items": {"type": "string"}}},
        ),
        (Literal["a", "b", 1, None], {"enum": ["a", "b", 1, None]}),
        (int | None, {"anyOf": [{"type": "integer"}, {"type": "null"}]}),
        (Optional[str], {"anyOf": [{"type": "string"}, {"type": "null"}]}),  # noqa: UP045  # the old way to write it
        (Annotated[str, "a city"], {"type": "string", "description": "a city"}),
        (
            Annotated[list[Annotated[int, 5, "a year"]], 7],
            {"type": "array", "items": {"type": "integer", "description": "a year"}},
        ),
        ("int | None", {"anyOf": [{"type": "integer"}, {"type": "null"}]}),
    ],
)  # fmt: skip
def test_a_hint_that_json_can_carry_is_told_to_the_model(hint: Any, schema: Json) -> None:
    assert _schema_of(hint) == schema


class Color(enum.Enum):
    RED = 1


@pytest.mark.parametrize(
    "hint",
    [
        bytes, object, Color, set[int], tuple[int, str], tuple[int], dict[int, str], Callable[[], int], complex,
        list[bytes], int | bytes, Literal[Color.RED], Literal[b"x"], Any,
    ],
)  # fmt: skip
def test_a_hint_that_json_cannot_carry_is_named(hint: Any) -> None:
    with pytest.raises(AgentError, match="tool 'tool': parameter 'value' has the type") as caught:
        _schema_of(hint)
    assert caught.value.code is ErrorCode.AGENT_LOAD_FAILED


@pytest.mark.parametrize("hint", ["no_such_name", "list[", "1/0", "Color.RED.x.y"])
def test_a_hint_that_cannot_be_read_is_named(hint: str) -> None:
    with pytest.raises(AgentError, match="its parameters cannot be read"):
        _schema_of(hint)


def test_parameters_without_a_default_are_required_and_a_method_has_no_self() -> None:
    class Station:
        def weather(self, city: str, *, year: int = 2020) -> str:
            return f"{city} {year}"

    assert parameters_schema(Station().weather, "weather") == {
        "type": "object",
        "properties": {"city": {"type": "string"}, "year": {"type": "integer"}},
        "required": ["city"],
    }


def _bare(city) -> None:  # type: ignore[no-untyped-def]  # what the test is about
    """Have no hint."""


def _positional(city: str, /) -> None: ...


def _many(*cities: str) -> None: ...


def _named(**cities: str) -> None: ...


REFUSED: list[tuple[Callable[..., object], str]] = [
    (_bare, "has no type hint; write `city: str`"),
    (_positional, "city: str cannot be called by name"),
    (_many, r"\*cities.* cannot be called by name"),
    (_named, r"\*\*cities.* cannot be called by name"),
    (dict.fromkeys, "cannot be"),
]


@pytest.mark.parametrize(("function", "words"), REFUSED)
def test_parameters_that_a_model_cannot_name_are_refused(function: Callable[..., object], words: str) -> None:
    with pytest.raises(AgentError, match=words):
        parameters_schema(function, "t")
