"""Scripts of the model endpoint as JSON."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator_runtimes.conformance.scripts import Fault, FaultKind, Script
from orchestrator_runtimes.errors import AgentError, ErrorCode


def faults() -> st.SearchStrategy[Fault]:
    return st.builds(
        Fault,
        kind=st.sampled_from(FaultKind),
        calls=st.lists(st.integers(1, 9)).map(tuple),
        first=st.none() | st.integers(1, 9),
        scope=st.sampled_from(["conversation", "script"]),
        status=st.integers(400, 599),
        retry_after=st.none() | st.floats(0, 99),
        finish_reason=st.sampled_from(["length", "content_filter"]),
    )


@given(
    st.builds(
        Script,
        tool=st.lists(st.text()).map(tuple),
        tool_rounds=st.integers(0, 9),
        arguments=st.dictionaries(st.text(), st.none() | st.booleans() | st.integers() | st.text()),
        text=st.text(),
        latency=st.floats(0, 99),
        faults=st.lists(faults(), max_size=3).map(tuple),
    )
)
def test_a_script_survives_json(script: Script) -> None:
    assert Script.from_json(script.to_json()) == script


@pytest.mark.parametrize(
    ("document", "named"),
    [
        ("{", "JSON"),
        ("[]", "JSON object"),
        ('{"latencies": 1}', "latencies"),
        ('{"latency": -1}', "latency"),
        ('{"latency": NaN}', "latency"),
        ('{"tool": "x"}', "tool"),
        ('{"tool_rounds": true}', "tool_rounds"),
        ('{"echo": "("}', "echo"),
        ('{"faults": [{"status": 500}]}', "kind"),
        ('{"faults": [{"kind": "tired"}]}', "kind"),
        ('{"faults": [{"kind": "status", "status": 200}]}', "status"),
        ('{"faults": [{"kind": "status", "calls": [0]}]}', "calls"),
        ('{"faults": [{"kind": "status", "scope": "world"}]}', "scope"),
    ],
)
def test_a_wrong_script_is_refused_by_name(document: str, named: str) -> None:
    with pytest.raises(AgentError, match=named) as caught:
        Script.from_json(document)
    assert caught.value.code is ErrorCode.INVALID_INPUT
