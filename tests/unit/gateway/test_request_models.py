"""A request with another model is the same request in every other byte."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator_gateway.request_models import model_of, with_model
from orchestrator_runtimes.json_values import Json, parse

json_values: st.SearchStrategy[Json] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
names = st.text(max_size=20)


@given(
    st.dictionaries(st.text(), json_values, max_size=4),
    st.dictionaries(st.text(), json_values, max_size=4),
    names,
    names,
    st.sampled_from([None, 0, 3]),
    st.booleans(),
)
def test_only_the_model_is_another(
    before: dict[str, Json], after: dict[str, Json], old: str, new: str, indent: int | None, ascii_only: bool
) -> None:
    mark = "0f5c"  # finds the place of the model, whatever is around it
    body = {**before, "model": mark, **{key: after[key] for key in after if key != "model"}}
    text = json.dumps(body, indent=indent, ensure_ascii=ascii_only)
    head, _, tail = text.rpartition(f'"model": "{mark}"')
    for_old = f'{head}"model" :\n{json.dumps(old)}{tail}'.encode(errors="replace")
    changed = with_model(for_old, new)
    assert changed == f'{head}"model" :\n{json.dumps(new)}{tail}'.encode(errors="replace")
    assert model_of(parse(changed)) == new


@pytest.mark.parametrize("content", [b"[]", b"{}", b'{"a": {"model": "inner"}}', b'"model"', b""])
def test_where_there_is_no_model_none_is_put(content: bytes) -> None:
    with pytest.raises(ValueError, match=r"object|missing|Expecting"):
        with_model(content, "new")


@pytest.mark.parametrize("body", [None, [], {"model": 5}, {"model": None}, {"a": {"model": "inner"}}])
def test_a_request_that_names_no_model_has_none(body: Json) -> None:
    assert model_of(body) is None
