"""An answer gets one verdict, whole or streamed in any pieces, in both dialects."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator_runtimes.errors import AgentError, ErrorCode
from orchestrator_runtimes.messages import Usage
from orchestrator_runtimes.model_answers import AnswerStream, read_answer, read_usage, status_fault

Verdict = tuple[Usage | None, ErrorCode | None, str]

arguments = st.sampled_from(
    ['{"city":"Oslo"}', "", "{}", '{"city":', "[1]", "no", '{"é":"\N{GRINNING FACE}"}']
)
calls = st.lists(st.tuples(st.sampled_from(["weather", "tide"]), arguments), max_size=2)
texts = st.sampled_from(["", "It is sunny.", "a\n\nb", "data: x\r\n\r\n", "\N{GRINNING FACE}é"])
counts = st.integers(0, 99)
usages = st.none() | st.builds(Usage, input_tokens=counts, output_tokens=counts, cached_tokens=counts)


def _verdict(usage: Usage | None, error: AgentError | None) -> Verdict:
    return (usage, error.code, error.message) if error else (usage, None, "")


def _whole(answer: Mapping[str, Any]) -> Verdict:
    return _verdict(*read_answer(json.dumps(answer).encode()))


def _events(chunks: Sequence[Mapping[str, Any]], *, end: str, done: bool = True) -> bytes:
    lines = [f"data: {json.dumps(chunk, ensure_ascii=False)}{end}{end}" for chunk in chunks]
    return "".join([*lines, f"data: [DONE]{end}{end}" if done else ""]).encode()


def _streamed(data: bytes, cuts: Sequence[int], *, drop_usage: bool = False) -> tuple[Verdict, bytes]:
    stream, passed = AnswerStream(drop_usage=drop_usage), b""
    for begin, end in zip([0, *cuts], [*cuts, len(data)], strict=True):
        passed += stream.feed(data[begin:end])
    rest, error = stream.finish()
    return _verdict(stream.usage, error), passed + rest


def _chat(
    text: str, tools: Sequence[tuple[str, str]], usage: Usage | None
) -> tuple[dict[str, Any], list[Any]]:
    """Return one answer as a whole and as the pieces of a stream."""
    functions = [
        {"index": n, "id": f"c{n}", "function": {"name": name, "arguments": words}}
        for n, (name, words) in enumerate(tools)
    ]
    message = {"role": "assistant", "content": text, "tool_calls": functions}
    told = usage and {
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "prompt_tokens_details": {"cached_tokens": usage.cached_tokens},
    }
    whole = {"choices": [{"index": 0, "message": message}], "usage": told}
    deltas: list[dict[str, Any]] = [{"role": "assistant", "content": ""}, *({"content": c} for c in text)]
    for n, (name, words) in enumerate(tools):
        deltas.append(
            {"tool_calls": [{"index": n, "id": f"c{n}", "function": {"name": name, "arguments": ""}}]}
        )
        deltas += [{"tool_calls": [{"index": n, "function": {"arguments": c}}]} for c in words]
    chunks: list[dict[str, Any]] = [{"choices": [{"index": 0, "delta": delta}]} for delta in deltas]
    chunks.append({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
    if told is not None:
        chunks.append({"choices": [], "usage": told})
    return whole, chunks


def _response(
    text: str, tools: Sequence[tuple[str, str]], usage: Usage | None
) -> tuple[dict[str, Any], list[Any]]:
    """Return one answer of the responses dialect as a whole and as the events of a stream."""
    output: list[dict[str, Any]] = [
        {"type": "message", "content": [{"type": "output_text", "text": text}]},
        *({"type": "function_call", "name": name, "arguments": words} for name, words in tools),
    ]
    told = usage and {
        "input_tokens": usage.input_tokens,
        "output_tokens": usage.output_tokens,
        "input_tokens_details": {"cached_tokens": usage.cached_tokens},
    }
    whole = {"object": "response", "output": output, "usage": told}
    events: list[dict[str, Any]] = [
        {"type": "response.created", "response": {}},
        {"type": "response.output_text.delta", "delta": text},
    ]
    return whole, [*events, {"type": "response.completed", "response": whole}]


@settings(max_examples=150, deadline=None)
@given(
    build=st.sampled_from([_chat, _response]),
    text=texts,
    tools=calls,
    usage=usages,
    end=st.sampled_from(["\n", "\r\n"]),
    data=st.data(),
)
def test_whole_and_streamed_answers_get_one_verdict(
    build: Any, text: str, tools: list[tuple[str, str]], usage: Usage | None, end: str, data: st.DataObject
) -> None:
    whole, chunks = build(text, tools, usage)
    stream = _events(chunks, end=end)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=30)))
    verdict, passed = _streamed(stream, cuts)
    assert verdict == _whole(whole)
    assert passed == stream, "the caller gets what the endpoint sent"
    assert verdict[0] == usage
    bad = {'{"city":', "[1]", "no"}
    assert (verdict[1] is None) == (bool(text or tools) and not any(words in bad for _, words in tools))


@pytest.mark.parametrize("build", [_chat, _response])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("tools", [[], [("weather", '{"city":"é"}')], [("weather", "{")]])
def test_a_stream_cut_at_any_byte_says_the_same(build: Any, end: str, tools: list[tuple[str, str]]) -> None:
    _, chunks = build("sunny é", tools, Usage(input_tokens=3, output_tokens=2))
    stream = _events(chunks, end=end)
    expected = _streamed(stream, [])
    for cut in range(len(stream) + 1):
        assert _streamed(stream, [cut]) == expected
    assert _streamed(stream, range(1, len(stream))) == expected


@pytest.mark.parametrize("build", [_chat, _response])
def test_a_stream_that_ends_early_is_never_a_good_answer(build: Any) -> None:
    _, chunks = build("sunny", [("weather", '{"city":"Oslo"}')], None)
    stream = _events(chunks, end="\n", done=False)
    last = stream.rindex(b"data:")
    for length in range(last):
        (_, code, _), _ = _streamed(stream[:length], [])
        assert code is ErrorCode.MODEL_BAD_OUTPUT


def test_usage_that_nobody_asked_for_is_noted_and_not_passed() -> None:
    _, chunks = _chat("sunny", [], Usage(input_tokens=3, output_tokens=2))
    stream = _events(chunks, end="\n")
    (usage, code, _), passed = _streamed(stream, [], drop_usage=True)
    assert (usage, code) == (Usage(input_tokens=3, output_tokens=2), None)
    assert b"prompt_tokens" not in passed and passed.endswith(b"[DONE]\n\n")
    assert len(passed.split(b"\n\n")) == len(stream.split(b"\n\n")) - 1


@settings(max_examples=150, deadline=None)
@given(
    st.binary(max_size=200)
    | st.text(max_size=60).map(lambda text: f"data: {text}\n\n".encode("utf-8", "replace"))
)
def test_any_bytes_get_a_verdict(body: bytes) -> None:
    for _, code, message in (_verdict(*read_answer(body)), _streamed(body, [len(body) // 2])[0]):
        assert code in (None, ErrorCode.MODEL_BAD_OUTPUT)
        assert (code is None) or message


@settings(max_examples=150, deadline=None)
@given(
    value=st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=3),
        lambda inner: st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["choices", "message", "delta", "content", "tool_calls", "function", "arguments", "output", "data",
                 "usage", "prompt_tokens", "error", "type", "response", "text", "prompt_tokens_details", "index"]
            ),
            inner,
            max_size=4,
        ),
        max_leaves=12,
    )
)  # fmt: skip
def test_json_of_any_shape_gets_a_verdict(value: Any) -> None:
    body = json.dumps(value).encode()
    assert _verdict(*read_answer(body))[1] in (None, ErrorCode.MODEL_BAD_OUTPUT)
    assert _streamed(b"data: " + body + b"\n\ndata: [DONE]\n\n", [])[0][1] in (
        None,
        ErrorCode.MODEL_BAD_OUTPUT,
    )


def test_indexes_of_any_type_tell_tool_calls_apart() -> None:
    pieces: list[dict[str, Any]] = [
        {
            "choices": [
                {"index": [], "delta": {"tool_calls": [{"index": {}, "function": {"arguments": words}}]}}
            ]
        }
        for words in ('{"city"', ':"Oslo"}')
    ]
    stream = _events(pieces, end="\n")
    assert _streamed(stream, [])[0][1] is None
    assert _streamed(stream[: stream.index(b":\\")], [])[0][1] is ErrorCode.MODEL_BAD_OUTPUT


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"<html>sign in</html>", "not JSON"),
        (b"[]", "not a JSON object"),
        (b'{"choices":[]}', "no choices"),
        (b'{"choices":[{"message":{"content":""}}]}', "empty content"),
        (b'{"choices":[{"message":{"content":null,"tool_calls":[]}}]}', "empty content"),
        (b'{"error":{"message":"over quota"}}', "an error with status 200"),
        (b'{"id":"x"}', "neither choices nor output nor data"),
        (b'{"data":[]}', "neither choices nor output nor data"),
    ],
)
def test_unusable_answers_are_named(body: bytes, words: str) -> None:
    _, error = read_answer(body)
    assert error is not None and error.code is ErrorCode.MODEL_BAD_OUTPUT and words in error.message


@pytest.mark.parametrize(
    "body",
    [
        b'{"choices":[{"message":{"content":null,"refusal":"no"}}]}',
        b'{"choices":[{"text":"a completion"}]}',
        b'{"choices":[{"message":{"content":"","function_call":{"name":"f","arguments":"{}"}}}]}',
        b'{"data":[{"embedding":[0.1]}]}',
        b'{"output":[{"type":"function_call","name":"f","arguments":""}]}',
    ],
)
def test_other_answers_are_usable(body: bytes) -> None:
    assert read_answer(body) == (None, None)


@pytest.mark.parametrize(
    ("status", "code"),
    [(400, "model_rejected"), (401, "model_rejected"), (404, "model_rejected"), (408, "model_unavailable"),
     (409, "model_unavailable"), (422, "model_rejected"), (425, "model_unavailable"), (429, "model_rate_limited"),
     (500, "model_unavailable"), (503, "model_unavailable"), (599, "model_unavailable")],
)  # fmt: skip
def test_a_status_has_its_code_and_the_endpoints_words(status: int, code: str) -> None:
    error = status_fault(status, b'{"error":{"message":"as I said"}}')
    assert (error.code.value, error.cause, error.detail) == (code, "as I said", {"status": status})
    assert status_fault(status, b"\xff plain").cause == "\N{REPLACEMENT CHARACTER} plain"


def _refusal(error: object) -> bytes:
    return json.dumps({"error": error}).encode()


@pytest.mark.parametrize("status", [400, 402, 429])
def test_a_refusal_for_want_of_budget_has_its_own_code_whatever_its_status(status: int) -> None:
    told = {"type": "budget_exceeded", "message": "m" * 900, "budget": {"limit": "tokens", "allowed": 5}}
    error = status_fault(status, _refusal(told))
    assert error.code is ErrorCode.BUDGET_EXCEEDED and not error.code.retryable
    assert error.message == "m" * 300
    assert error.detail == {"limit": "tokens", "allowed": 5, "status": status}


@pytest.mark.parametrize(
    "budget",
    [None, [1], "x", {"deep": {"a": 1}, "none": None}, {f"k{n}" * 400: "v" * 400 for n in range(50)}],
)
def test_of_a_refusals_facts_only_few_and_short_ones_are_taken(budget: Any) -> None:
    detail = status_fault(402, _refusal({"type": "budget_exceeded", "budget": budget})).detail
    assert detail["status"] == 402 and len(detail) <= 11
    assert all(len(name) <= 300 and len(str(fact)) <= 300 for name, fact in detail.items())


@pytest.mark.parametrize(
    "error", ["budget_exceeded", ["budget_exceeded"], {"message": "budget_exceeded"}, None]
)
def test_what_is_no_refusal_for_want_of_budget_is_none(error: Any) -> None:
    assert status_fault(400, _refusal(error)).code is ErrorCode.MODEL_REJECTED


@pytest.mark.parametrize(
    "usage",
    [None, [], {}, {"prompt_tokens": "3"}, {"prompt_tokens": True}, {"prompt_tokens": -1}, {"prompt_tokens": 10**12},
     {"prompt_tokens": 1.5}, {"completion_tokens": 3}],
)  # fmt: skip
def test_usage_that_is_no_count_is_none(usage: Any) -> None:
    assert read_usage(usage) is None
