"""Fingerprints: what the guest made up does not count, what the request is about does."""

import json
from datetime import UTC, datetime
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator_gateway.fingerprints import digests_in, fingerprint
from orchestrator_runtimes.json_values import Json

NONE: frozenset[str] = frozenset()
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=10,
)


def body(text: str) -> Json:
    return {"model": "m", "messages": [{"role": "user", "content": text}]}


@given(json_values, json_values)
def test_equal_requests_have_one_name_and_others_another(one: Json, other: Json) -> None:
    first, second = fingerprint("/c", one, NONE), fingerprint("/c", other, NONE)
    assert first == fingerprint("/c", one, NONE)
    assert (first.exact == second.exact) == (_canonical(one) == _canonical(other))
    assert first.exact != fingerprint("/d", one, NONE).exact


def _canonical(value: Json) -> str:
    return json.dumps(value, sort_keys=True)


def test_the_order_of_keys_does_not_count() -> None:
    assert fingerprint("/c", {"a": 1, "b": 2}, NONE) == fingerprint("/c", {"b": 2, "a": 1}, NONE)


@given(
    st.datetimes(min_value=datetime(1970, 1, 1), timezones=st.just(UTC)),
    st.uuids(),
    st.integers(10**7, 10**12),
)
def test_times_and_random_names_do_not_count(moment: datetime, name: UUID, number: int) -> None:
    text = f"It is {moment.isoformat()} ({moment:%Y-%m-%d %H:%M:%S}). You are LightAgent{number:08d}"
    text += f", {name}, {name.hex}."
    plain = (
        "It is 2026-01-01T00:00:00+00:00 (2026-01-01 00:00:00). You are LightAgent12345678,"
        " 00000000-0000-0000-0000-000000000000, 00000000000000000000000000000000."
    )
    found, other = fingerprint("/c", body(text), NONE), fingerprint("/c", body(plain), NONE)
    assert found.loose == other.loose


@given(st.uuids(), st.uuids())
def test_random_names_that_came_from_outside_count(one: UUID, other: UUID) -> None:
    known = digests_in(f"review {one} and {other}")
    first = fingerprint("/c", body(f"about {one}"), known)
    assert (first.loose == fingerprint("/c", body(f"about {other}"), known).loose) == (one == other)


@given(st.text(alphabet="abc xyz.,", max_size=30), st.text(alphabet="abc xyz.,", max_size=30))
def test_words_count(one: str, other: str) -> None:
    same = fingerprint("/c", body(one), NONE).loose == fingerprint("/c", body(other), NONE).loose
    assert same == (one == other)


def test_short_numbers_count() -> None:
    assert fingerprint("/c", body("row 17"), NONE).loose != fingerprint("/c", body("row 18"), NONE).loose


@pytest.mark.parametrize(
    ("field", "mark", "name"),
    [
        ("messages", {"role": "tool"}, "tool_call_id"),
        ("input", {"type": "function_call_output"}, "call_id"),
    ],
)
def test_results_of_parallel_tool_calls_may_stand_in_any_order_of_their_round(
    field: str, mark: dict[str, str], name: str
) -> None:
    first, second, third = ({**mark, name: f"c{n}", "content": f"r{n}"} for n in range(3))
    between = {"role": "assistant", "content": "more"}

    def loose(*items: Json) -> str:
        return fingerprint("/c", {"model": "m", field: list(items)}, NONE).loose

    assert loose(first, second, between, third) == loose(second, first, between, third)
    assert loose(first, second, between, third) != loose(first, third, between, second)
    assert loose(first, second) != loose(first, {**second, "content": "r9"})
