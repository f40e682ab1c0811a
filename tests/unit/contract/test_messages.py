"""Messages survive the wire, and what is not a message is named, never misread."""

from importlib.resources import files

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator_runtimes.codec import InvalidMessage, decode, encode
from orchestrator_runtimes.errors import ErrorCode
from orchestrator_runtimes.events import Event, EventNotification, Finished, ModelCall, Token, ToolCall
from orchestrator_runtimes.json_values import Json, NotJson, dump, parse
from orchestrator_runtimes.messages import (
    METHODS,
    AgentSource,
    FinishReason,
    Initialize,
    Limits,
    Load,
    McpServer,
    ModelAddress,
    PortableAgent,
    Run,
    ToolSource,
    Usage,
)
from orchestrator_runtimes.schema import schema_text

json_values: st.SearchStrategy[Json] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
counts = st.integers(0, 10**9)
usages = st.builds(Usage, input_tokens=counts, output_tokens=counts, model_calls=counts, tool_calls=counts)
events: st.SearchStrategy[Event] = st.one_of(
    st.builds(Token, text=st.text()),
    st.builds(ToolCall, name=st.text(), seconds=st.floats(0, 1e6), error=st.none() | st.text()),
    st.builds(
        ModelCall, model=st.text(), seconds=st.floats(0, 1e6), error=st.none() | st.sampled_from(ErrorCode)
    ),
    st.builds(Finished, finish_reason=st.sampled_from(FinishReason), usage=usages),
)
tools = st.one_of(
    st.builds(ToolSource, function=st.text(min_size=1), once=st.booleans()),
    st.builds(
        ToolSource, mcp=st.builds(McpServer, command=st.lists(st.text(min_size=1), min_size=1).map(tuple))
    ),
)
sources = st.one_of(
    st.builds(
        AgentSource,
        entrypoint=st.text(min_size=1),
        options=st.dictionaries(st.text(), json_values, max_size=2),
    ),
    st.builds(
        AgentSource,
        portable=st.builds(
            PortableAgent,
            name=st.text(),
            instructions=st.text(),
            model=st.text(),
            tools=st.lists(tools, max_size=3).map(tuple),
        ),
    ),
)
runs = st.builds(
    Run,
    execution=st.text(),
    agent=st.text(),
    inputs=json_values,
    session=st.none() | st.text(),
    limits=st.builds(Limits, steps=st.integers(1, 1000), tokens=st.none() | st.integers(1, 10**9)),
    model=st.none() | st.builds(ModelAddress, base_url=st.text(), api_key=st.none() | st.text()),
)


@given(
    st.one_of(
        runs,
        st.builds(Load, source=sources),
        st.builds(
            EventNotification, execution=st.text(), sequence=counts, time=st.floats(0, 1e10), event=events
        ),
    )
)
def test_a_message_comes_back_as_it_was(message: object) -> None:
    assert decode(type(message), parse(dump(encode(message)))) == message


@given(json_values)
def test_anything_else_is_refused_or_a_whole_message(value: Json) -> None:
    for kind, _ in METHODS.values():
        try:
            message = decode(kind, value)
        except InvalidMessage:
            continue
        assert isinstance(message, kind)


def test_keys_of_a_newer_peer_are_ignored() -> None:
    assert decode(Initialize, {"contract": "1.9", "colour": "blue"}) == Initialize(contract="1.9")


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ({}, "run.execution: missing"),
        ({"execution": 1, "agent": "a"}, "run.execution: expected a string, got a whole number"),
        (
            {"execution": "e", "agent": "a", "limits": {"steps": "many"}},
            "run.limits.steps: expected a whole number",
        ),
        (
            {"execution": "e", "agent": "a", "limits": {"steps": True}},
            "run.limits.steps: expected a whole number",
        ),
        ({"execution": "e", "agent": "a", "limits": {"steps": 0}}, "limit 'steps' must be above 0"),
        ({"execution": "e", "agent": "a", "limits": {"seconds": 10**400}}, "number too large"),
        ([], "run: expected an object, got list"),
    ],
)
def test_what_is_wrong_is_named_with_its_place(value: Json, words: str) -> None:
    with pytest.raises(InvalidMessage) as caught:
        decode(Run, value, "run")
    assert words in str(caught.value)


def test_an_unknown_kind_of_event_is_named() -> None:
    value: Json = {"execution": "e", "sequence": 0, "time": 0, "event": {"kind": "explosion"}}
    with pytest.raises(InvalidMessage, match="unknown kind 'explosion'"):
        decode(EventNotification, value, "event")


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b'{"a":1,"a":2}',
        b"NaN",
        b"-Infinity",
        b"[" * 100_000,
        b"1" * 10_000,
        b'"\\ud800" x',
    ],
)
def test_what_is_no_json_is_refused(line: bytes) -> None:
    with pytest.raises(NotJson):
        parse(line)


@pytest.mark.parametrize("value", [float("nan"), object(), {1: {2, 3}}, b"bytes"])
def test_what_json_has_no_word_for_is_refused(value: object) -> None:
    with pytest.raises(NotJson):
        dump(value)


def test_the_schema_in_the_repository_is_the_contracts() -> None:
    kept = files("orchestrator_runtimes").joinpath("contract.schema.json").read_text()
    assert kept == schema_text(), "run `python -m orchestrator_runtimes.schema` and keep its output"


def test_sources_and_servers_need_exactly_one_way() -> None:
    for wrong in (
        AgentSource,
        lambda: AgentSource(entrypoint="a:b", portable=PortableAgent(name="a", instructions="", model="m")),
        McpServer,
        lambda: McpServer(command=("x",), url="http://localhost"),
        ToolSource,
        lambda: Limits(seconds=0),
        lambda: Limits(tokens=0),
    ):
        with pytest.raises(ValueError, match=r"needs either|must be"):
            wrong()
