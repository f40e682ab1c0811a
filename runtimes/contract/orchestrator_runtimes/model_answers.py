"""Reading what a model endpoint answered: is it usable, and what did it cost?

Five frameworks take an unusable answer in five ways, some of them as a success. So the answer itself is judged here,
before the framework sees it.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from orchestrator_runtimes.errors import AgentError, ErrorCode
from orchestrator_runtimes.json_values import Json, NotJson, parse
from orchestrator_runtimes.messages import Usage

ENDPOINTS: Final = ("/chat/completions", "/responses", "/embeddings", "/completions")
"""Ends of the paths that are model calls."""

BUDGET_EXCEEDED: Final = "budget_exceeded"
"""`type` of the error with which a gateway refuses a call for which no budget is left."""

_SHOWN: Final = 300
_FACTS: Final = 10


def bad_output(why: str, cause: str | None = None) -> AgentError:
    """Return the error of an answer that is no usable answer."""
    return AgentError(
        ErrorCode.MODEL_BAD_OUTPUT, f"the model endpoint's answer is unusable: {why}", cause=cause
    )


def status_fault(status: int, body: bytes) -> AgentError:
    """Return the error of an answer with an HTTP status of 400 or more."""
    error = _error_of(body)
    if error.get("type") == BUDGET_EXCEEDED:
        return AgentError(
            ErrorCode.BUDGET_EXCEEDED, _said(body), detail={**_facts(error.get("budget")), "status": status}
        )
    code = ErrorCode.MODEL_REJECTED
    if status == 429:
        code = ErrorCode.MODEL_RATE_LIMITED
    elif status >= 500 or status in (408, 409, 425):
        code = ErrorCode.MODEL_UNAVAILABLE
    return AgentError(
        code, f"the model endpoint answered {status}", cause=_said(body), detail={"status": status}
    )


def _error_of(body: bytes) -> Mapping[str, Json]:
    try:
        return _map(_map(parse(body)).get("error"))
    except NotJson:
        return {}


def _facts(told: Json) -> dict[str, object]:
    """Return what is told of a budget: short facts only, whatever the endpoint sends."""
    facts = [(name, fact) for name, fact in _map(told).items() if isinstance(fact, int | float | str)]
    return {name[:_SHOWN]: fact[:_SHOWN] if isinstance(fact, str) else fact for name, fact in facts[:_FACTS]}


def _said(body: bytes) -> str:
    try:
        value = parse(body)
    except NotJson:
        return body[:_SHOWN].decode(errors="replace")
    error = _map(value).get("error", value)
    message = _map(error).get("message", error)
    return str(message)[:_SHOWN]


def read_answer(body: bytes) -> tuple[Usage | None, AgentError | None]:
    """Judge the body of a plain answer with status 200.

    Returns:
        Its usage, None when it tells none, and what is wrong with it, None when nothing is.
    """
    try:
        answer = parse(body)
    except NotJson as error:
        return None, bad_output("not JSON", f"{error}: {body[:_SHOWN].decode(errors='replace')}")
    if not isinstance(answer, Mapping):
        return None, bad_output("not a JSON object")
    return read_usage(answer.get("usage")), _fault(answer)


def _fault(answer: Mapping[str, Json]) -> AgentError | None:
    if answer.get("error"):
        return bad_output("an error with status 200", str(answer["error"])[:_SHOWN])
    if "choices" in answer:
        choices = _list(answer["choices"])
        if not choices:
            return bad_output("no choices")
        return next(
            filter(None, (message_fault(_map(_map(choice).get("message") or choice)) for choice in choices)),
            None,
        )
    if "output" in answer:
        return _items_fault(_list(answer["output"]))
    return None if _list(answer.get("data")) else bad_output("neither choices nor output nor data")


def message_fault(message: Mapping[str, Json]) -> AgentError | None:
    """Judge one message of a chat completion, or one text of a completion: it must say something or call a tool."""
    calls = [_map(_map(call).get("function")) for call in _list(message.get("tool_calls"))]
    if function := message.get("function_call"):
        calls.append(_map(function))
    for call in calls:
        if fault := arguments_fault(str(call.get("name")), call.get("arguments")):
            return fault
    said = message.get("content") or message.get("refusal") or message.get("text") or message.get("audio")
    return None if said or calls else bad_output("empty content and no tool call")


def _items_fault(items: Sequence[Json]) -> AgentError | None:
    for item in map(_map, items):
        if item.get("type") != "function_call":
            continue
        if fault := arguments_fault(str(item.get("name")), item.get("arguments")):
            return fault
    said = any(
        item.get("type") == "function_call"
        or any(_map(part).get("text") for part in _list(item.get("content")))
        for item in map(_map, items)
    )
    return None if said else bad_output("empty content and no tool call")


def arguments_fault(name: str, arguments: Json) -> AgentError | None:
    """Judge the arguments of a tool call, which must be the text of a JSON object or empty."""
    if not isinstance(arguments, str) or not arguments.strip():
        return None
    try:
        value = parse(arguments.encode())
    except NotJson as error:
        return bad_output(
            f"the arguments of the tool call {name!r:.80} are not JSON", f"{error}: {arguments[:_SHOWN]}"
        )
    return (
        None
        if isinstance(value, Mapping)
        else bad_output(f"the arguments of the tool call {name!r:.80} are no object")
    )


def read_usage(usage: Json) -> Usage | None:
    """Return the tokens of one call from either dialect's usage object; None when it holds no counts."""
    if not isinstance(usage, Mapping):
        return None
    details = _map(usage.get("prompt_tokens_details") or usage.get("input_tokens_details"))
    counts = (
        usage.get("prompt_tokens", usage.get("input_tokens")),
        usage.get("completion_tokens", usage.get("output_tokens", 0)),
        details.get("cached_tokens") or 0,
    )
    whole = [c for c in counts if isinstance(c, int) and not isinstance(c, bool) and 0 <= c < 10**12]
    if len(whole) != len(counts):
        return None
    return Usage(input_tokens=whole[0], output_tokens=whole[1], cached_tokens=whole[2])


class AnswerStream:
    """A streamed answer, judged while it passes.

    Args:
        drop_usage: True when the caller did not ask for the usage event that the endpoint was asked for in its name,
            so that it must not see it.
    """

    def __init__(self, *, drop_usage: bool) -> None:
        """Begin with nothing seen."""
        self._drop_usage = drop_usage
        self._pending = b""
        self._ended = False
        self._said = False
        self._arguments: dict[tuple[str, str], tuple[str, str]] = {}
        self._error: AgentError | None = None
        self.usage: Usage | None = None

    def feed(self, data: bytes) -> bytes:
        """Take bytes from the endpoint and return those that the caller gets now: whole events only."""
        self._pending += data
        passed: list[bytes] = []
        while True:
            end, length = _event_end(self._pending)
            if end < 0:
                return b"".join(passed)
            event, self._pending = self._pending[: end + length], self._pending[end + length :]
            if self._see(event):
                passed.append(event)

    def finish(self) -> tuple[bytes, AgentError | None]:
        """Return the bytes that are left at the end of the stream, and what was wrong with the whole answer."""
        rest = self._pending
        if rest.strip():
            self._see(rest)
        if self._error is None and not self._ended:
            self._error = bad_output("the stream ended early", rest[:_SHOWN].decode(errors="replace") or None)
        for name, arguments in self._arguments.values():
            self._error = self._error or arguments_fault(name, arguments)
        if self._error is None and not self._said and not self._arguments:
            self._error = bad_output("empty content and no tool call")
        return rest, self._error

    @property
    def ended(self) -> bool:
        """True when the endpoint said that the answer is whole."""
        return self._ended

    @property
    def broken(self) -> bool:
        """True when something was wrong with what was seen so far."""
        return self._error is not None

    def _see(self, event: bytes) -> bool:
        """Note what an event says; False when the caller must not get it."""
        data = b"\n".join(line[5:].strip() for line in event.splitlines() if line.startswith(b"data:"))
        if not data:
            return True
        if data == b"[DONE]":
            self._ended = True
            return True
        try:
            chunk = _map(parse(data))
        except NotJson as error:
            self._error = self._error or bad_output("a piece of the stream is not JSON", str(error))
            return True
        if chunk.get("error"):
            self._error = bad_output("an error inside the stream", str(chunk["error"])[:_SHOWN])
        self.usage = read_usage(chunk.get("usage")) or self.usage
        self._see_item(chunk)
        choices = _list(chunk.get("choices"))
        for choice in map(_map, choices):
            self._see_choice(choice)
        return not (self._drop_usage and "choices" in chunk and not choices and chunk.get("usage"))

    def _see_choice(self, choice: Mapping[str, Json]) -> None:
        delta = _map(choice.get("delta"))
        self._said = self._said or bool(delta.get("content") or delta.get("refusal") or choice.get("text"))
        self._ended = self._ended or bool(choice.get("finish_reason"))
        for call in map(_map, _list(delta.get("tool_calls"))):
            key = (str(choice.get("index")), str(call.get("index")))
            name, arguments = self._arguments.get(key, ("", ""))
            function = _map(call.get("function"))
            self._arguments[key] = (
                name + str(function.get("name") or ""),
                arguments + str(function.get("arguments") or ""),
            )

    def _see_item(self, chunk: Mapping[str, Json]) -> None:
        """Note an event of the responses dialect, which ends with the whole response."""
        kind = chunk.get("type")
        if kind in ("response.completed", "response.incomplete", "response.failed"):
            response = _map(chunk.get("response"))
            self._ended = self._said = True
            self.usage = read_usage(response.get("usage")) or self.usage
            if kind == "response.failed":
                self._error = bad_output("the response failed", str(response.get("error"))[:_SHOWN])
            else:
                self._error = self._error or _items_fault(_list(response.get("output")))


def _event_end(data: bytes) -> tuple[int, int]:
    """Return where the first event's blank line begins and how long it is; -1 when none is there yet."""
    found = [(at, len(mark)) for mark in (b"\n\n", b"\r\n\r\n") if (at := data.find(mark)) >= 0]
    return min(found, default=(-1, 0))


def _map(value: Json) -> Mapping[str, Json]:
    return value if isinstance(value, Mapping) else {}


def _list(value: Json) -> Sequence[Json]:
    return value if isinstance(value, list) else ()
