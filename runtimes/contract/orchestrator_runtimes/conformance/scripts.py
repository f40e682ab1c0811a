"""What a scripted model answers: `Script`, and the ways in which it misbehaves: `Fault`."""

import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from enum import StrEnum
from typing import Any, Final, Literal, cast

from orchestrator_runtimes.errors import AgentError, ErrorCode


class FaultKind(StrEnum):
    """One way to misbehave. A comment names the fields of `Fault` that it reads."""

    STATUS = "status"  # an OpenAI error body with `status`, and Retry-After with `retry_after`
    HANG = "hang"  # the request is read and never answered
    DISCONNECT = "disconnect"  # the connection closes without a byte of an answer
    HTML = "html"  # status 200 with a web page, as a proxy in the way sends it
    TRUNCATED_JSON = "truncated_json"  # a complete response whose JSON (or whose second event) ends early
    TRUNCATED_STREAM = "truncated_stream"  # closes after `chunks` events, or after half of a plain body
    NO_CHOICES = "no_choices"  # `choices` (`output` in the Responses API) is empty
    EMPTY_CONTENT = "empty_content"  # the text is empty and no tool is called
    BAD_TOOL_ARGUMENTS = "bad_tool_arguments"  # tools are called with arguments that are no JSON
    WRONG_TOOL_ARGUMENTS = "wrong_tool_arguments"  # tools are called with JSON that breaks their schema
    UNKNOWN_TOOL = "unknown_tool"  # where a tool would be called, `no_such_tool` is, which nobody offered
    BAD_STRUCTURED_OUTPUT = "bad_structured_output"  # what comes does not match the schema asked for
    ENDLESS_TOOLS = "endless_tools"  # every answer calls a tool while one is offered
    SLOW_BODY = "slow_body"  # the body takes `seconds`, in about ten pieces or event by event
    WRONG_CONTENT_TYPE = "wrong_content_type"  # the right body, declared as text/plain
    HUGE = "huge"  # a text of `size` characters
    FINISH_REASON = "finish_reason"  # a text that ended because of `finish_reason`: half of it, or nothing


@dataclass(frozen=True, kw_only=True)
class Fault:
    """A misbehaviour and the calls that it strikes.

    The number of a call is read from the conversation that the request carries (`Conversation.call`), not
    counted by the endpoint: executions that run at the same time do not disturb each other, and a retry has
    the same number.

    Attributes:
        kind: What goes wrong.
        calls: Numbers of the calls of a conversation that it strikes, from 1; empty means every call.
        first: Only this many requests are struck, then the fault is over; None means without end. Requests
            are counted for each conversation (and, with `calls`, for each of those calls), or for the whole
            script.
        scope: What `first` counts over. A conversation is known by its execution header and its first user
            text.
        status: HTTP status of `status`, 400 to 599.
        retry_after: Seconds in the Retry-After header of `status`; None sends none.
        chunks: Events sent before `truncated_stream` closes, at least 0.
        seconds: Seconds that `slow_body` takes.
        size: Characters of `huge`.
        finish_reason: What `finish_reason` reports.
    """

    kind: FaultKind
    calls: tuple[int, ...] = ()
    first: int | None = None
    scope: Literal["conversation", "script"] = "conversation"
    status: int = 500
    retry_after: float | None = None
    chunks: int = 2
    seconds: float = 1.0
    size: int = 1_000_000
    finish_reason: Literal["length", "content_filter"] = "length"

    def __post_init__(self) -> None:
        """Refuse values that no call could meet."""
        _require(all(call >= 1 for call in self.calls), "fault.calls", "numbers from 1")
        _require(self.first is None or self.first >= 1, "fault.first", "at least 1, or null")
        _require(self.scope in ("conversation", "script"), "fault.scope", "'conversation' or 'script'")
        _require(400 <= self.status <= 599, "fault.status", "400 to 599")
        _require(
            self.retry_after is None or _is_duration(self.retry_after),
            "fault.retry_after",
            "seconds, or null",
        )
        _require(self.chunks >= 0, "fault.chunks", "at least 0")
        _require(_is_duration(self.seconds), "fault.seconds", "seconds, at least 0")
        _require(self.size >= 0, "fault.size", "at least 0")
        _require(
            self.finish_reason in ("length", "content_filter"),
            "fault.finish_reason",
            "'length' or 'content_filter'",
        )


@dataclass(frozen=True, kw_only=True)
class Script:
    """The behaviour of one scripted model.

    Without options: where tools are offered and this turn has had no tool round, the first offered tool is
    called with arguments made from its schema; otherwise the answer is `text`, or JSON made from the schema
    that was asked for.

    Attributes:
        tool: Substrings of tool names; each picks the first offered tool that contains it, and all that are
            found are called in one response (parallel tools). Empty, or none found: the first offered tool.
        tool_rounds: Rounds of tool calls in a turn before the answer; 0 calls no tool.
        handoffs: Substrings of tool names, each called alone and once, in this order, before the answer; one
            that is not offered is passed over. Where any of them is offered, `tool` and `tool_rounds` do not
            apply.
        arguments: Values for tool arguments with these names, at any depth, instead of made ones.
        output: Values for properties with these names, at any depth, of JSON answers; the whole object where
            JSON is asked for without a schema.
        text: The answer.
        echo: Regular expression of a marker. All distinct markers in the prompt, in order and separated by
            spaces, replace `{echo}` in `text`, `arguments` and `output`, and end `text` where it has no
            `{echo}`: an answer that shows a foreign marker has been given a foreign prompt. None looks for
            none.
        latency: Seconds before the first byte of each response.
        chunk_latency: Seconds between the events of a stream.
        strict: True answers 400, as OpenAI does, to a tool message without its tool call and to a tool call
            that has no tool message.
        faults: The first that strikes a call decides; `latency` holds for it too.
    """

    tool: tuple[str, ...] = ()
    tool_rounds: int = 1
    handoffs: tuple[str, ...] = ()
    arguments: Mapping[str, object] = field(default_factory=dict[str, object])
    output: Mapping[str, object] = field(default_factory=dict[str, object])
    text: str = "It is sunny in Paris, 21 C."
    echo: str | None = None
    latency: float = 0.0
    chunk_latency: float = 0.0
    strict: bool = False
    faults: tuple[Fault, ...] = ()

    def __post_init__(self) -> None:
        """Refuse values that could only fail later."""
        _require(self.tool_rounds >= 0, "tool_rounds", "at least 0")
        _require(_is_duration(self.latency), "latency", "seconds, at least 0")
        _require(_is_duration(self.chunk_latency), "chunk_latency", "seconds, at least 0")
        if self.echo is not None:
            try:
                re.compile(self.echo)
            except re.error as error:
                raise _wrong("echo", f"a regular expression ({error})") from error

    def to_json(self) -> str:
        """Return this script as a JSON object with every field."""
        return json.dumps(_plain(self))

    @staticmethod
    def from_json(document: str) -> "Script":
        """Read a script from a JSON object; fields left out have their defaults.

        Raises:
            AgentError: With `invalid_input` when it is no JSON object, or a field or a value is not allowed.
        """
        try:
            value: object = json.loads(document)
        except ValueError as error:
            raise _wrong("the script", f"a JSON object ({error})") from error
        return Script(**_read(value, Script, "script"))


def _require(holds: bool, name: str, expected: str) -> None:
    if not holds:
        raise _wrong(name, expected)


def _wrong(name: str, expected: str) -> AgentError:
    return AgentError(ErrorCode.INVALID_INPUT, f"model script: {name} must be {expected}")


def _is_duration(value: float) -> bool:
    return math.isfinite(value) and value >= 0


def _plain(value: Script | Fault) -> dict[str, object]:
    plain: dict[str, object] = {item.name: getattr(value, item.name) for item in fields(value)}
    if isinstance(value, Script):
        plain |= {"arguments": dict(value.arguments), "output": dict(value.output)}
        plain["faults"] = [_plain(fault) for fault in value.faults]
    return plain


def _read(value: object, kind: type[Script] | type[Fault], where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _wrong(where, "a JSON object")
    known = [item.name for item in fields(kind)]
    given = cast("dict[str, object]", value)
    for name in given:
        _require(
            name in known, f"{where}.{name}", f"left out: there is no such field, only {', '.join(known)}"
        )
    return {name: _READERS[name](item, f"{where}.{name}") for name, item in given.items()}


def _integer(value: object, where: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise _wrong(where, "an integer")
    return value


def _number(value: object, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _wrong(where, "a number")
    return float(value)


def _text(value: object, where: str) -> str:
    if not isinstance(value, str):
        raise _wrong(where, "a string")
    return value


def _truth(value: object, where: str) -> bool:
    if not isinstance(value, bool):
        raise _wrong(where, "true or false")
    return value


def _values(value: object, where: str) -> dict[str, object]:
    if not isinstance(value, dict):
        raise _wrong(where, "a JSON object")
    return cast("dict[str, object]", value)


def _kind(value: object, where: str) -> FaultKind:
    try:
        return FaultKind(_text(value, where))
    except ValueError as error:
        raise _wrong(where, "one of " + ", ".join(FaultKind)) from error


def _fault(value: object, where: str) -> Fault:
    given = _read(value, Fault, where)
    _require("kind" in given, f"{where}.kind", "given")
    return Fault(**given)


def _each(read: Callable[[object, str], object]) -> Callable[[object, str], object]:
    def read_all(value: object, where: str) -> object:
        if not isinstance(value, list):
            raise _wrong(where, "a list")
        return tuple(read(item, where) for item in cast("list[object]", value))

    return read_all


def _optional(read: Callable[[object, str], object]) -> Callable[[object, str], object]:
    return lambda value, where: None if value is None else read(value, where)


_READERS: Final[Mapping[str, Callable[[object, str], object]]] = {
    "tool": _each(_text),
    "tool_rounds": _integer,
    "handoffs": _each(_text),
    "arguments": _values,
    "output": _values,
    "text": _text,
    "echo": _optional(_text),
    "latency": _number,
    "chunk_latency": _number,
    "strict": _truth,
    "faults": _each(_fault),
    "kind": _kind,
    "calls": _each(_integer),
    "first": _optional(_integer),
    "scope": _text,
    "status": _integer,
    "retry_after": _optional(_number),
    "chunks": _integer,
    "seconds": _number,
    "size": _integer,
    "finish_reason": _text,
}
