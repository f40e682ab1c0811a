"""What a call may use is estimated from any request, and what an upstream tells is believed within reason."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator_gateway.estimates import MOST_TOKENS, OUTPUT_TOKENS, counted, estimated
from orchestrator_runtimes.json_values import Json
from orchestrator_runtimes.messages import Usage

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)
requests = values | st.dictionaries(
    st.sampled_from(["max_tokens", "max_completion_tokens", "max_output_tokens", "n"]), values
)


@given(requests, st.integers(0, 2**40))
def test_any_request_has_an_estimate_that_can_be_counted(body: Json, size: int) -> None:
    usage = estimated(body, size)
    assert 0 <= usage.input_tokens <= MOST_TOKENS and 0 < usage.output_tokens <= MOST_TOKENS


@pytest.mark.parametrize(
    ("body", "output"),
    [
        ({}, OUTPUT_TOKENS),
        ([], OUTPUT_TOKENS),
        ({"max_tokens": 7}, 7),
        ({"max_completion_tokens": 7, "max_tokens": 9}, 7),
        ({"max_output_tokens": 7, "n": 3}, 21),
        ({"max_tokens": -7}, OUTPUT_TOKENS),
        ({"max_tokens": True}, OUTPUT_TOKENS),
        ({"max_tokens": "7"}, OUTPUT_TOKENS),
    ],
)
def test_the_output_is_what_the_request_bounds_it_to(body: Json, output: int) -> None:
    assert estimated(body, 0).output_tokens == output


def test_the_input_is_a_token_for_each_four_bytes() -> None:
    assert [estimated({}, size).input_tokens for size in (0, 1, 4, 5, 400)] == [0, 1, 1, 2, 100]


def test_what_the_upstream_tells_counts_unless_no_model_takes_that_much() -> None:
    expected = Usage(input_tokens=5, output_tokens=6)
    told = Usage(input_tokens=MOST_TOKENS, output_tokens=0)
    assert counted(told, expected) == (told, False)
    for lie in (None, Usage(input_tokens=MOST_TOKENS + 1), Usage(output_tokens=MOST_TOKENS + 1)):
        assert counted(lie, expected) == (expected, True)
