"""Answers in the form of the Responses API, whole and as a stream."""

import json
from collections.abc import Iterator

from orchestrator_runtimes.conformance.answers import Answer
from orchestrator_runtimes.conformance.chat_completions import CREATED, Frame, call_id, pieces
from orchestrator_runtimes.conformance.json_tree import JsonObject, as_list, as_object, as_text

_INCOMPLETE = {"length": "max_output_tokens", "content_filter": "content_filter"}


def response(answer: Answer, frame: Frame) -> JsonObject:
    """Return the body of a response that is not streamed."""
    incomplete = _INCOMPLETE.get(answer.finish_reason)
    return {
        **_head(frame),
        "status": "incomplete" if incomplete else "completed",
        "incomplete_details": {"reason": incomplete} if incomplete else None,
        "output": _items(answer, frame),
        "usage": {
            "input_tokens": frame.input_tokens,
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": frame.output_tokens,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": frame.input_tokens + frame.output_tokens,
        },
    }


def response_events(answer: Answer, frame: Frame) -> Iterator[bytes]:
    """Yield the events of a streamed response; the last one carries the whole response with its usage."""
    for number, (kind, fields) in enumerate(_events(answer, frame)):
        event = {"type": kind, "sequence_number": number, **fields}
        yield f"event: {kind}\ndata: {json.dumps(event)}\n\n".encode()


def _head(frame: Frame) -> JsonObject:
    return {
        "id": f"resp_{frame.id}",
        "object": "response",
        "created_at": CREATED,
        "error": None,
        "instructions": None,
        "max_output_tokens": None,
        "metadata": {},
        "model": frame.model,
        "parallel_tool_calls": True,
        "previous_response_id": None,
        "temperature": 1.0,
        "tool_choice": "auto",
        "tools": [],
        "top_p": 1.0,
    }


def _items(answer: Answer, frame: Frame) -> list[JsonObject]:
    if answer.empty:
        return []
    if answer.calls:
        return [
            {
                "type": "function_call",
                "id": f"fc_{frame.id}_{index}",
                "call_id": call_id(frame, index),
                "name": call.name,
                "arguments": call.arguments,
                "status": "completed",
            }
            for index, call in enumerate(answer.calls)
        ]
    part: JsonObject = {"type": "output_text", "text": answer.text or "", "annotations": []}
    status = "incomplete" if answer.finish_reason in _INCOMPLETE else "completed"
    return [
        {"type": "message", "id": f"msg_{frame.id}", "role": "assistant", "status": status, "content": [part]}
    ]


def _events(answer: Answer, frame: Frame) -> Iterator[tuple[str, JsonObject]]:
    whole = response(answer, frame)
    begun: JsonObject = {
        **_head(frame),
        "status": "in_progress",
        "incomplete_details": None,
        "output": [],
        "usage": None,
    }
    yield "response.created", {"response": begun}
    yield "response.in_progress", {"response": begun}
    for index, item in enumerate(_items(answer, frame)):
        yield from _item_events(item, {"output_index": index, "item_id": item["id"]})
    yield f"response.{whole['status']}", {"response": whole}


def _item_events(item: JsonObject, place: JsonObject) -> Iterator[tuple[str, JsonObject]]:
    index = {"output_index": place["output_index"]}
    if item["type"] == "function_call":
        arguments = as_text(item["arguments"])
        half = len(arguments) // 2
        yield (
            "response.output_item.added",
            {**index, "item": {**item, "arguments": "", "status": "in_progress"}},
        )
        for delta in (arguments[:half], arguments[half:]):
            yield "response.function_call_arguments.delta", {**place, "delta": delta}
        yield "response.function_call_arguments.done", {**place, "name": item["name"], "arguments": arguments}
    else:
        part = as_object(as_list(item["content"])[0])
        text = as_text(part["text"])
        place = {**place, "content_index": 0}
        empty: JsonObject = {"type": "output_text", "text": "", "annotations": []}
        yield (
            "response.output_item.added",
            {**index, "item": {**item, "content": [], "status": "in_progress"}},
        )
        yield "response.content_part.added", {**place, "part": empty}
        for piece in pieces(text):
            yield "response.output_text.delta", {**place, "delta": piece, "logprobs": []}
        yield "response.output_text.done", {**place, "text": text, "logprobs": []}
        yield "response.content_part.done", {**place, "part": part}
    yield "response.output_item.done", {**index, "item": item}
