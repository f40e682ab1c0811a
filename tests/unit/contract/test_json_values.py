"""JSON is read as if it came from an enemy, and what was read can always be written again."""

import contextlib
import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator_runtimes.json_values import Json, NotJson, dump, parse, whole_characters

texts = st.text(alphabet=st.characters(codec=None, categories=None), max_size=20)
values: st.SearchStrategy[Json] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=15,
)


@given(values)
def test_a_value_comes_back_as_it_was(value: Json) -> None:
    line = dump(value)
    assert b"\n" not in line
    assert parse(line) == value


@given(st.binary(max_size=60) | values.map(lambda value: json.dumps(value).encode()))
def test_what_was_read_can_be_written(line: bytes) -> None:
    with contextlib.suppress(NotJson):  # and nothing else
        written = dump(parse(line))
        assert dump(parse(written)) == written


@given(texts)
def test_every_text_can_be_written_and_whole_characters_are_kept(text: str) -> None:
    read = parse(dump(text))
    assert read == whole_characters(text)
    if not any("\ud800" <= character <= "\udfff" for character in text):
        assert read == text


def test_halves_of_a_surrogate_pair_are_joined_and_lone_ones_replaced() -> None:
    assert dump("\ud83d" + "\ude00") == '"\N{GRINNING FACE}"'.encode()
    assert dump("a\ud83db") == '"a\N{REPLACEMENT CHARACTER}b"'.encode()


@pytest.mark.parametrize(
    "line", [b"1e999", b"-1e999", b'{"a":[1e400]}', b"Infinity", b"NaN", b"9" * 5_000, b'{"a":{"b":1,"b":1}}']
)
def test_numbers_that_are_none_and_keys_that_come_twice_are_refused(line: bytes) -> None:
    with pytest.raises(NotJson):
        parse(line)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_numbers_keep_their_value(number: float) -> None:
    read = parse(dump(number))
    assert isinstance(read, float) and math.copysign(1, read) == math.copysign(1, number)
    assert read == number


@pytest.mark.parametrize("depth", [1_000, 100_000])
def test_nesting_that_cannot_be_read_or_written_is_refused(depth: int) -> None:
    with pytest.raises(NotJson):
        parse(b'{"a":' * depth + b"1" + b"}" * depth)
    nested: list[Json] = []
    for _ in range(depth):
        nested = [nested]
    with pytest.raises(NotJson):
        dump(nested)
