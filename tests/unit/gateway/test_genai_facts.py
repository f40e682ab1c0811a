import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator_gateway.genai_facts import (
    answer_attributes,
    provider_name,
    request_attributes,
    server_attributes,
    usage_attributes,
)
from orchestrator_gateway.journal import Answer
from orchestrator_gateway.trace_contexts import parent_context
from orchestrator_runtimes.json_values import Json
from orchestrator_runtimes.messages import Usage

PLAIN = "application/json"
EVENTS = "text/event-stream; charset=utf-8"


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://api.openai.com/v1", "openai"),
        ("https://mine.openai.azure.com/openai/v1", "azure.ai.openai"),
        ("https://api.deepseek.com", "deepseek"),
        ("https://bedrock-runtime.us-east-1.amazonaws.com/openai/v1", "aws.bedrock"),
        ("https://us-central1-aiplatform.googleapis.com/v1", "gcp.vertex_ai"),
        ("https://api.x.ai/v1", "x_ai"),
        ("https://notx.ai/v1", "openai"),
        ("http://127.0.0.1:8000/v1", "openai"),
        ("no address", "openai"),
    ],
)
def test_the_provider_is_known_by_its_host(url: str, name: str) -> None:
    assert provider_name(url) == name


def test_the_port_is_that_of_the_scheme_where_the_address_has_none() -> None:
    assert server_attributes("https://models/v1")["server.port"] == 443
    assert server_attributes("http://models/v1")["server.port"] == 80
    assert server_attributes("no address") == {"gen_ai.provider.name": "openai"}


def test_what_a_request_asks_for_is_told_and_not_what_it_says() -> None:
    body: Json = {
        "model": "m",
        "messages": [{"role": "user", "content": "secret"}],
        "stream": True,
        "temperature": 0,
        "max_completion_tokens": 10,
        "n": 2,
        "text": {"format": {"type": "json_schema", "name": "secret"}},
    }
    told = request_attributes("/chat/completions", body)
    assert told == {
        "gen_ai.operation.name": "chat",
        "gen_ai.request.model": "m",
        "gen_ai.request.stream": True,
        "gen_ai.request.temperature": 0.0,
        "gen_ai.request.max_tokens": 10,
        "gen_ai.request.choice.count": 2,
        "gen_ai.output.type": "json",
    }


ANSWERS: list[tuple[str, Any, dict[str, Any]]] = [
    (
        PLAIN,
        {"id": "c", "model": "m-1", "choices": [{"finish_reason": "stop"}, {"finish_reason": "length"}]},
        {"id": "c", "model": "m-1", "finish_reasons": ("stop", "length")},
    ),
    (
        PLAIN,
        {"id": "r", "object": "response", "model": "m-1", "status": "completed"},
        {"id": "r", "model": "m-1", "finish_reasons": ("completed",)},
    ),
    (
        EVENTS,
        [
            {"id": "c", "model": "m-1", "choices": [{"delta": {}}]},
            {"id": "c", "choices": [{"finish_reason": "stop"}]},
        ],
        {"id": "c", "model": "m-1", "finish_reasons": ("stop",)},
    ),
    (
        EVENTS,
        [
            {
                "type": "response.completed",
                "response": {"id": "r", "object": "response", "status": "failed"},
            }
        ],
        {"id": "r", "finish_reasons": ("failed",)},
    ),
    (PLAIN, "<html>", {}),
    (PLAIN, {"id": 1, "model": None, "choices": "none"}, {}),
]


@pytest.mark.parametrize(("content_type", "body", "told"), ANSWERS)
def test_an_answer_tells_who_answered_and_how_it_ended(content_type: str, body: Any, told: Any) -> None:
    if content_type == EVENTS:
        content = "".join(f"data: {json.dumps(event)}\n\n" for event in body) + "data: [DONE]\n\n"
    else:
        content = body if isinstance(body, str) else json.dumps(body)
    answer = Answer(content_type=content_type, body=content.encode())
    assert answer_attributes(answer) == {f"gen_ai.response.{name}": value for name, value in told.items()}


def test_usage_is_told_where_the_endpoint_told_it() -> None:
    answer = Answer(content_type=PLAIN, body=b"")
    assert usage_attributes(answer) == {}
    usage = Usage(input_tokens=3, output_tokens=2, cached_tokens=1)
    assert usage_attributes(Answer(content_type=PLAIN, body=b"", usage=usage)) == {
        "gen_ai.usage.input_tokens": 3,
        "gen_ai.usage.output_tokens": 2,
        "gen_ai.usage.cache_read.input_tokens": 1,
    }


JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)
FIELDS = [
    "model",
    "temperature",
    "max_tokens",
    "seed",
    "n",
    "stream",
    "response_format",
    "text",
    "id",
    "choices",
]


@given(body=st.dictionaries(st.sampled_from([*FIELDS, "object", "status", "response"]), JSON) | JSON)
def test_whatever_a_guest_or_an_endpoint_sends_becomes_plain_and_short_values(body: Any) -> None:
    events = Answer(content_type=EVENTS, body=b"data: " + json.dumps(body).encode() + b"\n\n")
    for told in (request_attributes("/responses", body), answer_attributes(events)):
        for value in told.values():
            assert isinstance(value, str | bool | int | float | tuple)
            assert not isinstance(value, int | float) or abs(value) < 2**63
            assert not isinstance(value, str) or len(value) <= 200


@given(sent=st.text(max_size=80) | st.none())
def test_a_guest_cannot_leave_the_trace_that_its_token_names(sent: str | None) -> None:
    from opentelemetry import trace

    own = f"00-{'a' * 32}-{'b' * 16}-01"
    found = trace.get_current_span(parent_context(own, sent)).get_span_context()
    assert f"{found.trace_id:032x}" == "a" * 32 and found.trace_flags.sampled
    assert not trace.get_current_span(parent_context(None, sent)).get_span_context().is_valid
