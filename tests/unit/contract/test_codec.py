"""Every message of the contract survives the wire, and a hostile one is `InvalidMessage`, whatever it holds."""

import contextlib
import json
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from enum import StrEnum
from types import NoneType, UnionType
from typing import Any, Final, Literal, get_args, get_origin

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema.protocols import Validator

from orchestrator_runtimes.codec import InvalidMessage, UnknownKind, decode, encode
from orchestrator_runtimes.events import EventNotification
from orchestrator_runtimes.json_values import Json, dump, parse
from orchestrator_runtimes.messages import (
    METHODS,
    AgentSource,
    Failure,
    Limits,
    McpServer,
    PortableAgent,
    ToolSource,
)
from orchestrator_runtimes.schema import contract_schema

MESSAGES: Final = sorted(
    {kind for pair in METHODS.values() for kind in pair} | {EventNotification, Failure},
    key=lambda kind: kind.__name__,
)
SCHEMA: Final = json.loads(json.dumps(contract_schema()))

json_values: st.SearchStrategy[Json] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**20), 10**20)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=8,
)
_texts: Final = st.text(max_size=12)


def a(kind: Any) -> st.SearchStrategy[Any]:
    """Build a message of `kind` from its type hints, or one of the kinds with rules of their own."""
    special: dict[Any, st.SearchStrategy[Any]] = {
        Limits: st.builds(
            Limits,
            steps=st.integers(1, 10**6),
            tool_calls=st.integers(0, 10**6),
            seconds=st.floats(0.001, 1e6),
            tokens=st.none() | st.integers(1, 10**9),
            output_bytes=st.integers(1, 10**9),
        ),
        McpServer: st.builds(McpServer, command=st.lists(_texts, min_size=1, max_size=3).map(tuple))
        | st.builds(McpServer, url=st.text(min_size=1, max_size=9), include=st.lists(_texts, max_size=2).map(tuple)),
        ToolSource: st.builds(ToolSource, function=_texts, once=st.booleans())
        | st.builds(ToolSource, mcp=st.deferred(lambda: a(McpServer))),
        AgentSource: st.builds(
            AgentSource, entrypoint=_texts, options=st.dictionaries(_texts, json_values, max_size=2)
        )
        | st.builds(AgentSource, portable=st.deferred(lambda: a(PortableAgent))),
    }  # fmt: skip
    if kind in special:
        return special[kind]
    return st.builds(kind, **{field.name: _of(field.type) for field in fields(kind)})


def _of(hint: Any) -> st.SearchStrategy[Any]:
    origin, arguments = get_origin(hint), get_args(hint)
    if hint is Json:
        return json_values
    if origin is UnionType:
        return st.one_of(*map(_of, arguments))
    if origin is Literal:
        return st.sampled_from(arguments)
    if origin is tuple:
        return st.lists(_of(arguments[0]), max_size=3).map(tuple)
    if origin is not None and issubclass(origin, Mapping):
        return st.dictionaries(_texts, _of(arguments[1]), max_size=3)
    if is_dataclass(hint):
        return a(hint)
    if issubclass(hint, StrEnum):
        return st.sampled_from(hint)
    plain: dict[Any, st.SearchStrategy[Any]] = {
        str: _texts,
        int: st.integers(-(2**53), 2**53),
        float: st.floats(allow_nan=False, allow_infinity=False),
        bool: st.booleans(),
        NoneType: st.none(),
    }
    return plain[hint]


def _validator(kind: type[object]) -> Validator:
    document = {"$ref": f"#/$defs/{kind.__name__}", "$defs": SCHEMA["$defs"]}
    return jsonschema.Draft202012Validator(document)


@pytest.mark.parametrize("kind", MESSAGES, ids=lambda kind: kind.__name__)
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_every_message_survives_the_wire_and_fits_the_schema(data: st.DataObject, kind: type[object]) -> None:
    message = data.draw(a(kind))
    written = parse(dump(encode(message)))
    assert decode(kind, written) == message
    _validator(kind).validate(written)


HOSTILE: Final[list[Json]] = [
    10**400, -1, True, "", {"kind": []}, {"kind": "log"}, [[[]]], {"a": {"b": None}},
]  # fmt: skip


def _places(value: Json, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [path]
    if isinstance(value, Mapping):
        for key, item in value.items():
            found += _places(item, (*path, key))
    elif isinstance(value, list):
        for number, item in enumerate(value):
            found += _places(item, (*path, number))
    return found


def _with(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    if not path:
        return new
    changed: Any = value.copy()
    changed[path[0]] = _with(value[path[0]], path[1:], new)
    return changed


@pytest.mark.parametrize("kind", MESSAGES, ids=lambda kind: kind.__name__)
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_a_message_with_a_hostile_value_is_invalid_or_whole(data: st.DataObject, kind: type[object]) -> None:
    written = parse(dump(encode(data.draw(a(kind)))))
    hostile = st.one_of(
        json_values,
        st.sampled_from(HOSTILE),
    )
    spoiled = _with(written, data.draw(st.sampled_from(_places(written))), data.draw(hostile))
    message = None
    with contextlib.suppress(InvalidMessage):  # and nothing else
        message = decode(kind, spoiled)
    assert message is None or decode(kind, parse(dump(encode(message)))) == message


@pytest.mark.parametrize("kind", MESSAGES, ids=lambda kind: kind.__name__)
def test_the_schema_and_the_reader_refuse_the_same_missing_keys(kind: type[object]) -> None:
    required = SCHEMA["$defs"][kind.__name__]["required"]
    if not required:
        assert isinstance(decode(kind, {}), kind) or kind is AgentSource
        return
    with pytest.raises(InvalidMessage, match=f"message.{required[0]}: missing"):
        decode(kind, {})
    with pytest.raises(jsonschema.ValidationError):
        _validator(kind).validate({})


def test_every_request_and_its_answer_is_in_the_schema() -> None:
    assert set(SCHEMA["requests"]) == set(METHODS)
    for method, (parameters, answer) in METHODS.items():
        assert SCHEMA["requests"][method] == {
            "params": {"$ref": f"#/$defs/{parameters.__name__}"},
            "result": {"$ref": f"#/$defs/{answer.__name__}"},
        }
    jsonschema.Draft202012Validator.check_schema({"$defs": SCHEMA["$defs"]})


@pytest.mark.parametrize("event", [None, [], "log", 1, {}, {"kind": 1}, {"kind": ["log"]}])
def test_an_event_without_a_kind_is_invalid_and_one_of_a_new_kind_unknown(event: Json) -> None:
    value: dict[str, Json] = {"execution": "e", "sequence": 0, "time": 0.5}
    with pytest.raises(InvalidMessage) as caught:
        decode(EventNotification, {**value, "event": event})
    assert not isinstance(caught.value, UnknownKind)
    with pytest.raises(UnknownKind, match="'thought'"):
        decode(EventNotification, {**value, "event": {"kind": "thought"}})
