"""What the scripted model endpoint answers and what it has seen, over real HTTP."""

import base64
import http.client
import json
import struct
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator_runtimes.conformance.conversations import tokens
from orchestrator_runtimes.conformance.model_endpoint import ModelEndpoint, run_in_thread
from orchestrator_runtimes.conformance.scripts import Script
from orchestrator_runtimes.errors import AgentError
from orchestrator_runtimes.output_schemas import mismatch

Body = dict[str, Any]

CHAT = "/chat/completions"
OUTPUT: Body = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "degrees": {"type": "integer", "minimum": 10}},
    "required": ["city", "degrees"],
}


@dataclass(frozen=True, kw_only=True)
class Received:
    """A response as the client saw it."""

    status: int
    headers: Mapping[str, str]
    text: str

    @property
    def json(self) -> Any:
        return json.loads(self.text)

    @property
    def events(self) -> list[Any]:
        lines = [line.removeprefix("data: ") for line in self.text.split("\n") if line.startswith("data: ")]
        return [json.loads(line) for line in lines if line != "[DONE]"]

    @property
    def message(self) -> Any:
        return self.json["choices"][0]["message"]


@pytest.fixture(scope="module")
def listening() -> Iterator[ModelEndpoint]:
    with run_in_thread(ModelEndpoint(most_body_bytes=1_000_000)) as endpoint:
        yield endpoint


@pytest.fixture
def endpoint(listening: ModelEndpoint) -> ModelEndpoint:
    listening.reset()
    return listening


def post(
    base_url: str, path: str, body: object, *, execution: str | None = None, timeout: float = 10.0
) -> Received:
    url = urlsplit(base_url)
    connection = http.client.HTTPConnection(url.hostname or "", url.port, timeout=timeout)
    headers = {"authorization": "Bearer of-nobody"} | (
        {"x-orchestrator-execution": execution} if execution else {}
    )
    try:
        data = body if isinstance(body, bytes) else json.dumps(body)
        connection.request("POST", url.path + path, data, headers)
        response = connection.getresponse()
        text = response.read().decode()
        found = {name.lower(): value for name, value in response.getheaders()}
        return Received(status=response.status, headers=found, text=text)
    finally:
        connection.close()


def tool(name: str = "get_weather") -> Body:
    parameters = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
    return {"type": "function", "function": {"name": name, "parameters": parameters}}


def chat(*messages: Body, tools: tuple[str, ...] = (), **more: object) -> Body:
    body: Body = {"model": "m", "messages": list(messages) or [user("weather?")], **more}
    return body | ({"tools": [tool(name) for name in tools]} if tools else {})


def user(content: str | list[Body]) -> Body:
    return {"role": "user", "content": content}


def round_of(*names: str) -> list[Body]:
    calls = [
        {"id": f"c{index}", "type": "function", "function": {"name": name, "arguments": "{}"}}
        for index, name in enumerate(names)
    ]
    results = [{"role": "tool", "tool_call_id": call["id"], "content": "sunny"} for call in calls]
    return [{"role": "assistant", "content": None, "tool_calls": calls}, *results]


def called(received: Received) -> list[str]:
    return [call["function"]["name"] for call in received.message.get("tool_calls", [])]


def test_a_tool_is_called_first_and_its_result_is_answered_with_text(endpoint: ModelEndpoint) -> None:
    first = post(endpoint.base_url, CHAT, chat(tools=("get_weather", "get_time")))
    assert first.json["choices"][0]["finish_reason"] == "tool_calls"
    assert called(first) == ["get_weather"]
    assert json.loads(first.message["tool_calls"][0]["function"]["arguments"]) == {"city": "Paris"}
    messages = [user("weather?"), first.message, {"role": "tool", "tool_call_id": "x", "content": "sunny"}]
    second = post(endpoint.base_url, CHAT, chat(*messages, tools=("get_weather",)))
    assert second.message["content"] == Script().text
    assert second.json["choices"][0]["finish_reason"] == "stop"
    assert [call.turn_call for call in endpoint.calls] == [1, 2]


@pytest.mark.parametrize(
    ("script", "messages", "expected"),
    [
        (Script(tool=("time", "weather")), [user("q")], ["get_time", "get_weather"]),
        (Script(tool=("unoffered",)), [user("q")], ["get_weather"]),
        (Script(tool_rounds=0), [user("q")], []),
        (Script(tool_rounds=2), [user("q"), *round_of("get_weather")], ["get_weather"]),
        (Script(tool_rounds=2), [user("q"), *round_of("get_weather"), *round_of("get_weather")], []),
        (Script(), [user("q"), *round_of("get_weather"), user("Analyze the tool result.")], []),
        (Script(), [user("q"), {"role": "assistant", "content": "a"}, user("again")], ["get_weather"]),
        (Script(), [user("q"), {"role": "tool", "tool_call_id": "orphan", "content": "sunny"}], []),
        (Script(handoffs=("time", "_to_", "weather")), [user("q")], ["get_time"]),
        (Script(handoffs=("time", "weather")), [user("q"), *round_of("get_time")], ["get_weather"]),
        (Script(handoffs=("time",), tool_rounds=9), [user("q"), *round_of("get_time")], []),
        (Script(handoffs=("_to_",)), [user("q")], ["get_weather"]),
    ],
)
def test_the_script_and_the_conversation_decide_which_tools_are_called(
    endpoint: ModelEndpoint, script: Script, messages: list[Body], expected: list[str]
) -> None:
    url = endpoint.script("tools", script)
    assert called(post(url, CHAT, chat(*messages, tools=("get_weather", "get_time")))) == expected


@pytest.mark.parametrize(
    ("choice", "rounds", "expected"),
    [
        ("none", 0, []),
        ("required", 0, ["get_weather"]),
        ("required", 1, ["Report"]),
        ({"type": "function", "function": {"name": "Report"}}, 0, ["Report"]),
        ({"type": "function", "function": {"name": "Report"}}, 1, ["Report"]),
    ],
)
def test_the_tool_choice_of_a_request_is_obeyed(
    endpoint: ModelEndpoint, choice: object, rounds: int, expected: list[str]
) -> None:
    messages = [user("q"), *(message for _ in range(rounds) for message in round_of("get_weather"))]
    body = chat(*messages, tools=("get_weather", "Report"), tool_choice=choice)
    assert called(post(endpoint.base_url, CHAT, body)) == expected


def test_arguments_and_output_of_the_script_replace_made_values(endpoint: ModelEndpoint) -> None:
    script = Script(
        arguments={"city": "Oslo {echo}"}, output={"degrees": 21, "city": "{echo}"}, echo=r"EXEC-\d+"
    )
    url = endpoint.script("values", script)
    arguments = post(url, CHAT, chat(user("EXEC-4"), tools=("f",))).message["tool_calls"][0]["function"][
        "arguments"
    ]
    assert json.loads(arguments) == {"city": "Oslo EXEC-4"}
    asked = {"type": "json_schema", "json_schema": {"name": "o", "schema": OUTPUT}}
    body = chat(user("EXEC-5"), response_format=asked)
    assert json.loads(post(url, CHAT, body).message["content"]) == {"degrees": 21, "city": "EXEC-5"}
    body = chat(user("EXEC-6"), response_format={"type": "json_object"})
    assert json.loads(post(url, CHAT, body).message["content"]) == {"degrees": 21, "city": "EXEC-6"}


def test_every_marker_of_the_prompt_is_echoed_once_so_that_a_foreign_one_shows(
    endpoint: ModelEndpoint,
) -> None:
    url = endpoint.script("echo", Script(text="done", echo=r"EXEC-\d+"))
    body = chat({"role": "system", "content": "EXEC-1"}, user("EXEC-2 and EXEC-1"))
    assert post(url, CHAT, body).message["content"] == "done EXEC-1 EXEC-2"


def test_agents_that_read_text_get_their_final_answer(endpoint: ModelEndpoint) -> None:
    body = chat({"role": "system", "content": "Write Thought: and then Final Answer: the answer"}, user("q"))
    assert post(endpoint.base_url, CHAT, body).message["content"].endswith(f"\nFinal Answer: {Script().text}")


def test_usage_is_the_documented_function_of_the_texts(endpoint: ModelEndpoint) -> None:
    body = chat({"role": "system", "content": "be brief"}, user([{"type": "text", "text": "hello there"}]))
    usage = post(endpoint.base_url, CHAT, body).json["usage"]
    assert usage["prompt_tokens"] == tokens("be brief\nhello there") == 5
    assert usage["completion_tokens"] == tokens(Script().text) == 7
    assert usage["total_tokens"] == 12
    assert (endpoint.calls[0].input_tokens, endpoint.calls[0].output_tokens) == (5, 7)


def test_equal_requests_get_equal_bytes_and_other_executions_other_ids(endpoint: ModelEndpoint) -> None:
    for stream in (False, True):
        answers = [
            post(endpoint.base_url, CHAT, chat(stream=stream, tools=("f",)), execution=e) for e in "aab"
        ]
        assert answers[0].text == answers[1].text != answers[2].text


def test_a_stream_puts_together_to_the_plain_answer(endpoint: ModelEndpoint) -> None:
    body = chat(stream=True, stream_options={"include_usage": True})
    received = post(endpoint.base_url, CHAT, body)
    assert received.headers["content-type"].startswith("text/event-stream")
    assert received.text.endswith("data: [DONE]\n\n")
    *parts, usage = received.events
    assert "".join(part["choices"][0]["delta"].get("content") or "" for part in parts) == Script().text
    assert parts[-1]["choices"][0]["finish_reason"] == "stop"
    assert usage["choices"] == [] and usage["usage"]["completion_tokens"] == 7
    assert endpoint.calls[0].streamed


def test_a_stream_has_no_usage_unless_it_was_asked_for(endpoint: ModelEndpoint) -> None:
    assert '"usage"' not in post(endpoint.base_url, CHAT, chat(stream=True)).text


def test_streamed_parallel_tool_calls_come_in_pieces_by_index(endpoint: ModelEndpoint) -> None:
    url = endpoint.script("parallel", Script(tool=("a", "b")))
    arguments = {0: "", 1: ""}
    for event in post(url, CHAT, chat(tools=("a", "b"), stream=True)).events:
        for part in event["choices"][0]["delta"].get("tool_calls", []):
            arguments[part["index"]] += part["function"]["arguments"]
    assert [json.loads(text) for text in arguments.values()] == [{"city": "Paris"}] * 2


def test_the_responses_api_calls_a_tool_and_then_answers(endpoint: ModelEndpoint) -> None:
    function = {"type": "function", "name": "get_weather", "parameters": tool()["function"]["parameters"]}
    body: Body = {"model": "m", "input": "weather?", "tools": [function], "instructions": "be brief"}
    first = post(endpoint.base_url, "/responses", body).json
    assert [item["type"] for item in first["output"]] == ["function_call"]
    assert first["usage"]["input_tokens"] == tokens("be brief\nweather?")
    result = {"type": "function_call_output", "call_id": first["output"][0]["call_id"], "output": "sunny"}
    body["input"] = [user("weather?"), *first["output"], result]
    second = post(endpoint.base_url, "/responses", body).json
    assert second["output"][0]["content"][0]["text"] == Script().text
    streamed = post(endpoint.base_url, "/responses", body | {"stream": True}).events
    assert [event["sequence_number"] for event in streamed] == list(range(len(streamed)))
    deltas = [event["delta"] for event in streamed if event["type"] == "response.output_text.delta"]
    assert "".join(deltas) == Script().text
    assert streamed[-1]["response"]["output"][0]["content"] == second["output"][0]["content"]
    assert [call.turn_call for call in endpoint.calls] == [1, 2, 2]


def test_a_streamed_function_call_of_the_responses_api_puts_together(endpoint: ModelEndpoint) -> None:
    function = {"type": "function", "name": "get_weather", "parameters": tool()["function"]["parameters"]}
    body: Body = {"model": "m", "input": "weather?", "tools": [function], "stream": True}
    events = post(endpoint.base_url, "/responses", body).events
    deltas = [event["delta"] for event in events if event["type"] == "response.function_call_arguments.delta"]
    whole = events[-1]["response"]["output"][0]
    assert "".join(deltas) == whole["arguments"] == '{"city": "Paris"}'


def test_embeddings_in_base64_are_the_same_numbers(endpoint: ModelEndpoint) -> None:
    body = {"model": "m", "input": [1, 2, 3], "dimensions": 3}
    plain = post(endpoint.base_url, "/embeddings", body).json["data"][0]["embedding"]
    encoded = post(endpoint.base_url, "/embeddings", body | {"encoding_format": "base64"}).json
    packed = base64.b64decode(encoded["data"][0]["embedding"])
    assert list(struct.unpack("<3f", packed)) == pytest.approx(plain)  # pyright: ignore[reportUnknownMemberType]


def test_embeddings_are_deterministic_unit_vectors(endpoint: ModelEndpoint) -> None:
    body = {"model": "m", "input": ["one", "two", "one"], "dimensions": 100}
    answer = post(endpoint.base_url, "/embeddings", body).json
    one, two, again = (item["embedding"] for item in answer["data"])
    assert one == again != two
    assert sum(value * value for value in one) == pytest.approx(1.0)  # pyright: ignore[reportUnknownMemberType]
    assert len(two) == 100 and answer["usage"]["prompt_tokens"] == 3


def schemas() -> st.SearchStrategy[Body]:
    bounded = st.tuples(st.integers(-50, 50), st.integers(0, 50)).map(
        lambda pair: {"type": "integer", "minimum": pair[0], "maximum": pair[0] + pair[1]}
    )
    text = st.tuples(st.integers(0, 30), st.integers(0, 9)).map(
        lambda pair: {"type": "string", "minLength": pair[0], "maxLength": pair[0] + pair[1]}
    )
    plain = st.sampled_from([{"type": kind} for kind in ("string", "number", "boolean", "null")])
    enum: st.SearchStrategy[Body] = st.lists(st.integers(), min_size=1).map(lambda values: {"enum": values})

    def containers(inner: st.SearchStrategy[Body]) -> st.SearchStrategy[Body]:
        arrays = st.tuples(inner, st.integers(0, 3), st.integers(0, 2)).map(
            lambda of: {"type": "array", "items": of[0], "minItems": of[1], "maxItems": of[1] + of[2]}
        )
        return st.one_of(
            arrays, objects(inner), inner.map(lambda schema: {"anyOf": [{"type": "null"}, schema]})
        )

    return objects(st.recursive(st.one_of(bounded, text, plain, enum), containers, max_leaves=6))


def objects(inner: st.SearchStrategy[Body]) -> st.SearchStrategy[Body]:
    names = st.text("abcity_", min_size=1, max_size=6)
    return st.dictionaries(names, inner, max_size=4).flatmap(
        lambda properties: st.sets(st.sampled_from(sorted(properties) or ["a"])).map(
            lambda required: {
                "type": "object",
                "properties": properties,
                "required": sorted(required & set(properties)),
                "additionalProperties": False,
            }
        )
    )


@settings(max_examples=60, deadline=None)
@given(schemas())
def test_structured_output_matches_whatever_schema_was_asked_for(
    listening: ModelEndpoint, schema: Body
) -> None:
    asked = {"type": "json_schema", "json_schema": {"name": "o", "schema": schema}}
    content = post(listening.base_url, CHAT, chat(response_format=asked)).message["content"]
    assert mismatch(schema, json.loads(content)) is None, content


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        ({"type": "integer", "exclusiveMinimum": 7}, 8),
        ({"type": "number", "exclusiveMaximum": 3}, 2.5),
        ({"type": "integer", "minimum": 10, "multipleOf": 4}, 12),
        ({"type": ["null", "string"], "format": "date"}, "2026-01-02"),
        ({"const": "fixed"}, "fixed"),
        ({"type": "array", "items": {"type": "boolean"}}, [True]),
    ],
)
def test_values_keep_to_the_rest_of_the_schema_too(
    endpoint: ModelEndpoint, schema: Body, expected: object
) -> None:
    base = {"type": "object", "properties": {"made": schema}, "required": ["made"]}
    whole: Body = {
        "$defs": {"Base": base},
        "allOf": [{"$ref": "#/$defs/Base"}, {"properties": {"optional": {}}}],
    }
    asked = {"type": "json_schema", "json_schema": {"name": "o", "schema": whole}}
    content = post(endpoint.base_url, CHAT, chat(response_format=asked)).message["content"]
    assert json.loads(content) == {"made": expected}


def test_a_schema_that_contains_itself_has_an_end(endpoint: ModelEndpoint) -> None:
    node = {
        "type": "object",
        "properties": {
            "children": {"type": "array", "items": {"$ref": "#/$defs/Node"}},
            "parent": {"anyOf": [{"$ref": "#/$defs/Node"}, {"type": "null"}]},
        },
        "required": ["children", "parent"],
    }
    schema: Body = {"$defs": {"Node": node}, "$ref": "#/$defs/Node"}
    asked = {"type": "json_schema", "json_schema": {"name": "o", "schema": schema}}
    content = post(endpoint.base_url, CHAT, chat(response_format=asked)).message["content"]
    assert mismatch(schema, json.loads(content)) is None, content


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (CHAT, b"{"),
        (CHAT, b"[" * 100_000),
        (CHAT, b"\xff"),
        (CHAT, []),
        (CHAT, {"messages": [user("q")]}),
        (CHAT, {"model": "m"}),
        (CHAT, {"model": "m", "messages": "q"}),
        (CHAT, {"model": "m", "messages": [1]}),
        (CHAT, {"model": "m", "messages": [{"role": "pilot", "content": "q"}]}),
        (CHAT, {"model": "m", "messages": [{"role": "user", "content": 1}]}),
        (CHAT, chat(tools=("f",), tool_choice="maybe")),
        (CHAT, chat(tools=("f",), tool_choice={"type": "function", "function": {"name": "g"}})),
        (CHAT, chat() | {"tools": [{"type": "function"}]}),
        (CHAT, chat(response_format={"type": "json_schema", "json_schema": {}})),
        ("/responses", {"model": "m"}),
        ("/responses", {"model": "m", "input": "q", "previous_response_id": "resp_1"}),
        ("/embeddings", {"model": "m", "input": {}}),
        ("/embeddings", {"model": "m", "input": "q", "dimensions": -1}),
    ],
)
def test_a_malformed_request_is_refused_with_400(endpoint: ModelEndpoint, path: str, body: object) -> None:
    received = post(endpoint.base_url, path, body)
    assert (received.status, received.json["error"]["type"]) == (400, "invalid_request_error")
    assert endpoint.calls[0].status == 400


def test_unknown_places_get_json_errors(endpoint: ModelEndpoint) -> None:
    root = endpoint.base_url.removesuffix("/v1")
    assert post(endpoint.base_url, "/completions", chat()).json["error"]["type"] == "invalid_request_error"
    assert [post(root, path, {}).status for path in ("/", "/m/nobody/v1/chat/completions")] == [404, 404]
    assert post(endpoint.base_url, "/models", {}).status == 405


def test_an_oversized_body_is_refused_with_413(endpoint: ModelEndpoint) -> None:
    assert post(endpoint.base_url, CHAT, b"x" * 1_000_001).status == 413


def test_calls_tell_who_asked_and_what(endpoint: ModelEndpoint) -> None:
    url = endpoint.script("seen", Script())
    post(url, CHAT, chat(user("q")), execution="exec-1")
    post(endpoint.base_url, CHAT, chat())
    (call,) = endpoint.calls_of("seen")
    assert (call.execution, call.authorization, call.path) == ("exec-1", "Bearer of-nobody", CHAT)
    assert call.body == chat(user("q"))
    assert call.headers["x-orchestrator-execution"] == "exec-1"
    assert abs(call.time - time.time()) < 60
    assert [call.script for call in endpoint.calls] == ["seen", ""]


def test_only_the_latest_calls_are_kept_and_all_are_counted() -> None:
    with run_in_thread(ModelEndpoint(most_calls=2)) as endpoint:
        for text in "abc":
            post(endpoint.base_url, CHAT, chat(user(text)))
        assert [call.number for call in endpoint.calls] == [1, 2]
        assert endpoint.count == 3


def test_a_name_that_is_no_path_segment_is_refused(endpoint: ModelEndpoint) -> None:
    with pytest.raises(AgentError):
        endpoint.script("a/b", Script())
