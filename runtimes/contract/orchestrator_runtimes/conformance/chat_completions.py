"""Answers in the form of the Chat Completions API, whole and as a stream."""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from orchestrator_runtimes.conformance.answers import Answer
from orchestrator_runtimes.conformance.json_tree import JsonObject

# a constant: two equal requests get equal responses
CREATED: Final = 1_700_000_000
_LONG_TEXT: Final = 4_096
_LONG_PIECE: Final = 65_536


@dataclass(frozen=True, kw_only=True)
class Frame:
    """What a response says beside the answer: an id made from the request, the model, and the tokens."""

    id: str
    model: str
    input_tokens: int
    output_tokens: int


def pieces(text: str) -> Sequence[str]:
    """Cut a text as a stream delivers it: word by word, or in 64 Ki characters when it is long."""
    if len(text) > _LONG_TEXT:
        return [text[start : start + _LONG_PIECE] for start in range(0, len(text), _LONG_PIECE)]
    return re.findall(r"\s*\S+|\s+", text)


def completion(answer: Answer, frame: Frame) -> JsonObject:
    """Return the body of a response that is not streamed."""
    message: JsonObject = {"role": "assistant", "content": answer.text, "refusal": None}
    if answer.calls:
        message["tool_calls"] = [
            {
                "id": call_id(frame, index),
                "type": "function",
                "function": {"name": call.name, "arguments": call.arguments},
            }
            for index, call in enumerate(answer.calls)
        ]
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": answer.finish_reason}
    return {
        "id": f"chatcmpl-{frame.id}",
        "object": "chat.completion",
        "created": CREATED,
        "model": frame.model,
        "choices": [] if answer.empty else [choice],
        "usage": _usage(frame),
    }


def completion_events(answer: Answer, frame: Frame, *, include_usage: bool) -> Iterator[bytes]:
    """Yield the events of a streamed response; usage comes only when asked for, last and without a choice."""
    head: JsonObject = {
        "id": f"chatcmpl-{frame.id}",
        "object": "chat.completion.chunk",
        "created": CREATED,
        "model": frame.model,
    }
    if include_usage:
        head["usage"] = None
    if not answer.empty:
        for delta in _deltas(answer, frame):
            yield _event({**head, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]})
        yield _event({**head, "choices": [{"index": 0, "delta": {}, "finish_reason": answer.finish_reason}]})
    if include_usage:
        yield _event({**head, "choices": [], "usage": _usage(frame)})
    yield b"data: [DONE]\n\n"


def call_id(frame: Frame, index: int) -> str:
    """Return the id of the tool call at `index` of a response."""
    return f"call_{frame.id}_{index}"


def _deltas(answer: Answer, frame: Frame) -> Iterator[JsonObject]:
    yield {"role": "assistant", "content": None if answer.calls else ""}
    for index, call in enumerate(answer.calls):
        function = {"name": call.name, "arguments": ""}
        yield {
            "tool_calls": [
                {"index": index, "id": call_id(frame, index), "type": "function", "function": function}
            ]
        }
        # in two halves, so that clients have to put them together
        half = len(call.arguments) // 2
        for part in (call.arguments[:half], call.arguments[half:]):
            yield {"tool_calls": [{"index": index, "function": {"arguments": part}}]}
    for piece in pieces(answer.text or ""):
        yield {"content": piece}


def _event(value: JsonObject) -> bytes:
    return b"data: " + json.dumps(value).encode() + b"\n\n"


def _usage(frame: Frame) -> JsonObject:
    return {
        "prompt_tokens": frame.input_tokens,
        "completion_tokens": frame.output_tokens,
        "total_tokens": frame.input_tokens + frame.output_tokens,
        "prompt_tokens_details": {"cached_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 0},
    }
