"""Marked fields are found wherever a path leads, and nothing else is changed."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator_resources.local_keys import local_keys, local_keys_file
from orchestrator_resources.personal_fields import (
    changed_at,
    changed_sealed,
    changed_where,
    found_at,
    is_sealed,
    may_have,
    read_path,
    texts_in,
    to_look_for,
)
from orchestrator_resources.sealed_texts import SealedTexts
from orchestrator_runtimes.json_values import Json

NAMES = st.sampled_from(["a", "b", "email", "customer", "ü"])
VALUES: Any = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=12,
)
PATHS = st.lists(NAMES, min_size=1, max_size=3).map(tuple)


def masked(_: Json) -> Json:
    return "MASK"


@given(VALUES, PATHS)
def test_after_a_change_nothing_is_left_at_a_path_but_null(value: Any, path: tuple[str, ...]) -> None:
    assert set(map(json.dumps, found_at(changed_at(value, path, masked), path))) <= {'"MASK"', "null"}


@given(VALUES, PATHS)
def test_what_has_no_such_field_stays(value: Any, path: tuple[str, ...]) -> None:
    if not list(found_at(value, path)):
        assert changed_at(value, path, masked) == value


@given(VALUES, PATHS)
def test_strictly_no_text_is_left_on_the_way(value: Any, path: tuple[str, ...]) -> None:
    changed = changed_at(value, path, masked, strictly=True)
    if not isinstance(value, dict | list):
        assert changed == (None if value is None else "MASK")


@given(VALUES, VALUES)
def test_what_repeats_a_value_is_found(held: Any, value: Any) -> None:
    texts = to_look_for([held])
    changed = changed_where({"x": [held, value]}, texts, masked)
    assert not any(text in told for told in texts_in(changed) for text in texts if text not in "MASK")
    if not texts:
        assert changed == {"x": [held, value]}


def test_names_of_fields_that_repeat_a_value_go_with_their_object() -> None:
    value: Json = {"by_address": {"ada@person.example": 1}, "n": 2}
    assert changed_where(value, frozenset({"ada@person.example"}), masked) == {"by_address": "MASK", "n": 2}


def test_short_values_are_not_looked_for() -> None:
    assert to_look_for(["abc", 12, None, True, {"x": [4915112345678, "  ada  "]}]) == {"4915112345678"}


@given(st.lists(st.text(st.characters(exclude_characters="."), max_size=4), max_size=3))
def test_a_path_is_read_or_refused(names: list[str]) -> None:
    text = ".".join(names)
    if all(name and name.strip() == name and name.isprintable() for name in names or [""]):
        assert read_path(text) == tuple(names)
    else:
        with pytest.raises(ValueError, match=r"^.* is no path: .* such as customer\.email$"):
            read_path(text)


SCHEMA: Json = {
    "type": "object",
    "properties": {
        "customer": {"$ref": "#/$defs/person"},
        "letters": {"type": "array", "items": {"type": "object", "properties": {"body": {"type": "string"}}}},
        "more": {"type": "object"},
        "maybe": {"anyOf": [{"type": "null"}, {"$ref": "#/$defs/person"}]},
        "any": {},
    },
    "$defs": {"person": {"type": "object", "properties": {"email": {"type": "string"}}}},
}


@pytest.mark.parametrize(
    ("path", "there"),
    [
        ("customer", True),
        ("customer.email", True),
        ("customer.phone", False),
        ("customer.email.domain", False),
        ("letters.body", True),
        ("letters.text", False),
        ("more.anything.below", True),
        ("maybe.email", True),
        ("maybe.phone", False),
        ("any.thing", True),
        ("summary", False),
    ],
)
def test_a_schema_says_whether_there_is_a_field(path: str, there: bool) -> None:
    assert may_have(SCHEMA, read_path(path)) is there


def test_a_text_that_only_begins_like_a_sealed_one_is_none(tmp_path: Any) -> None:
    assert not is_sealed("sealed: with a kiss") and not is_sealed(3)
    assert local_keys(tmp_path) is None
    texts = SealedTexts(local_keys_file(tmp_path))
    sealed = texts.seal_for_people("hello")
    assert is_sealed(sealed) and texts.open_for_people(sealed) == "hello"
    assert changed_sealed({"a": [sealed, "sealed: b", 1]}, masked) == {"a": ["MASK", "sealed: b", 1]}


def test_the_key_of_a_machine_is_made_once_and_is_its_users_alone(tmp_path: Any) -> None:
    file = local_keys_file(tmp_path)
    assert file.stat().st_mode & 0o077 == 0 and file.parent.stat().st_mode & 0o077 == 0
    assert local_keys_file(tmp_path) == file == local_keys(tmp_path)
    assert [one.name for one in file.parent.iterdir()] == [file.name], "nothing temporary is left"
