"""What agents need, as tags of their steps: what is written is read again, and what somebody made up is refused."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator_resources.agent_needs import TAG, AgentNeed, BadNeed, need_tag, needs_of, read_need
from orchestrator_resources.gpus import GpuRequest

NAMES = st.from_regex(r"[a-z0-9]([-a-z0-9]{0,62}[a-z0-9])?", fullmatch=True)
GPUS = st.builds(
    GpuRequest,
    count=st.integers(1, 1_024),
    type=st.none() | st.text(st.characters(codec="utf-8"), min_size=1, max_size=63),
    memory_mb=st.none() | st.integers(1, 10**9),
)
NEEDS = st.builds(AgentNeed, framework=NAMES, environment=NAMES, gpu=st.none() | GPUS)


@given(NEEDS)
def test_what_is_written_is_read_again(need: AgentNeed) -> None:
    assert read_need(need_tag(need)) == need


@given(
    st.text() | st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists).map(json.dumps)
)
def test_whatever_stands_there_is_a_need_or_refused(text: str) -> None:
    try:
        need = read_need(text)
    except BadNeed:
        return
    assert read_need(need_tag(need)) == need


@pytest.mark.parametrize(
    ("told", "why"),
    [
        ("[", "Expecting value"),
        ({"framework": "agno"}, "environment"),
        ({"framework": "agno", "environment": "e", "image": "mine"}, "image"),
        ({"framework": "../agno", "environment": "e"}, "no name of a framework"),
        ({"framework": "agno", "environment": "e", "gpu": {"count": 0}}, "count of gpu is 1 to 1024"),
        ({"framework": "agno", "environment": "e", "gpu": {"count": True}}, "gpu.count"),
        ({"framework": "agno", "environment": "e", "gpu": {"memory_mb": -1}}, "memory_mb above 0"),
        ({"framework": "agno", "environment": "e", "gpu": {"type": ""}}, "type of gpu has 1 to 63"),
        ({"framework": "a" * 3_000, "environment": "e"}, "longer than 2000 characters"),
    ],
)
def test_what_is_no_need_is_refused_with_the_reason(told: Any, why: str) -> None:
    text = told if isinstance(told, str) else json.dumps(told)
    with pytest.raises(BadNeed, match=rf"the tag '{TAG}' of the step 'a': .*{why}"):
        needs_of([("a", {TAG: text})])


@given(st.lists(NEEDS, max_size=5))
def test_the_needs_of_a_run_are_told_once_each_and_in_one_order(needs: list[AgentNeed]) -> None:
    steps = [(f"s{number}", {TAG: need_tag(need)}) for number, need in enumerate(needs)]
    found = needs_of([*steps, ("plain", {})])
    assert set(found) == set(needs) and len(found) == len(set(needs))
    assert found == needs_of(reversed(steps))
