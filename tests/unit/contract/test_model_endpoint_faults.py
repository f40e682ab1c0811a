"""Every way in which the scripted model endpoint misbehaves, over real HTTP."""

import http.client
import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import pytest

from orchestrator_runtimes.conformance.model_endpoint import ModelEndpoint, run_in_thread
from orchestrator_runtimes.conformance.scripts import Fault, FaultKind, Script
from orchestrator_runtimes.output_schemas import mismatch
from tests.integration.processes import wait_until

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


def faulty(endpoint: ModelEndpoint, kind: FaultKind, **more: Any) -> str:
    return endpoint.script("faulty", Script(faults=(Fault(kind=kind, **more),)))


@pytest.mark.parametrize("status", [400, 401, 404, 429, 500, 503])
def test_a_status_fault_answers_with_an_error_body(endpoint: ModelEndpoint, status: int) -> None:
    received = post(
        faulty(endpoint, FaultKind.STATUS, status=status, retry_after=1.5), CHAT, chat(stream=True)
    )
    assert (received.status, received.headers["retry-after"]) == (status, "1.5")
    assert set(received.json["error"]) == {"message", "type", "param", "code"}
    assert (endpoint.calls[0].status, endpoint.calls[0].fault) == (status, FaultKind.STATUS)


def test_a_fault_for_the_first_requests_counts_each_conversation_by_itself(endpoint: ModelEndpoint) -> None:
    url = faulty(endpoint, FaultKind.STATUS, status=500, first=2)
    order = ["a", "b", "a", "a", "b", "b"]
    assert [post(url, CHAT, chat(), execution=name).status for name in order] == [
        500,
        500,
        500,
        200,
        500,
        200,
    ]
    assert post(url, CHAT, chat(user("another conversation")), execution="a").status == 500


def test_a_fault_for_the_first_requests_can_count_the_whole_script(endpoint: ModelEndpoint) -> None:
    url = faulty(endpoint, FaultKind.STATUS, status=500, first=2, scope="script")
    assert [post(url, CHAT, chat(), execution=name).status for name in "abc"] == [500, 500, 200]
    endpoint.reset()
    assert post(url, CHAT, chat(), execution="a").status == 500


def test_a_fault_can_strike_one_call_of_a_conversation_and_let_its_retry_pass(
    endpoint: ModelEndpoint,
) -> None:
    second = chat(user("q"), *round_of("f"), tools=("f",))
    url = faulty(endpoint, FaultKind.STATUS, status=503, calls=(2,))
    assert [post(url, CHAT, body).status for body in (chat(), second, second)] == [200, 503, 503]
    url = endpoint.script(
        "once", Script(faults=(Fault(kind=FaultKind.STATUS, status=503, calls=(2,), first=1),))
    )
    assert [post(url, CHAT, body).status for body in (chat(), second, second)] == [200, 503, 200]


def test_a_hanging_call_is_never_answered_and_its_disconnect_is_seen(endpoint: ModelEndpoint) -> None:
    with pytest.raises(TimeoutError):
        post(faulty(endpoint, FaultKind.HANG), CHAT, chat(), timeout=0.1)
    wait_until(lambda: endpoint.calls[0].disconnected, "the endpoint sees it")
    assert endpoint.active == 0


def test_a_disconnect_closes_without_an_answer(endpoint: ModelEndpoint) -> None:
    with pytest.raises(http.client.RemoteDisconnected):
        post(faulty(endpoint, FaultKind.DISCONNECT), CHAT, chat())
    assert not endpoint.calls[0].disconnected


def test_a_web_page_comes_with_status_200(endpoint: ModelEndpoint) -> None:
    received = post(faulty(endpoint, FaultKind.HTML), CHAT, chat())
    assert (received.status, received.headers["content-type"][:9], received.text[:6]) == (
        200,
        "text/html",
        "<html>",
    )


def test_truncated_json_is_a_complete_response_that_does_not_parse(endpoint: ModelEndpoint) -> None:
    url = faulty(endpoint, FaultKind.TRUNCATED_JSON)
    for stream in (False, True):
        received = post(url, CHAT, chat(stream=stream))
        with pytest.raises(json.JSONDecodeError):
            _ = received.events if stream else received.json


@pytest.mark.parametrize("chunks", [0, 1, 3])
def test_a_truncated_stream_closes_after_its_chunks(endpoint: ModelEndpoint, chunks: int) -> None:
    with pytest.raises(http.client.IncompleteRead) as caught:
        post(faulty(endpoint, FaultKind.TRUNCATED_STREAM, chunks=chunks), CHAT, chat(stream=True))
    assert caught.value.partial.count(b"data: ") == chunks


def test_a_truncated_plain_response_is_shorter_than_declared(endpoint: ModelEndpoint) -> None:
    with pytest.raises(http.client.IncompleteRead):
        post(faulty(endpoint, FaultKind.TRUNCATED_STREAM), CHAT, chat())


def test_an_answer_can_have_no_choices(endpoint: ModelEndpoint) -> None:
    url = faulty(endpoint, FaultKind.NO_CHOICES)
    assert post(url, CHAT, chat()).json["choices"] == []
    assert post(url, CHAT, chat(stream=True)).events == []
    assert post(url, "/responses", {"model": "m", "input": "q"}).json["output"] == []


def test_an_answer_can_be_empty(endpoint: ModelEndpoint) -> None:
    received = post(faulty(endpoint, FaultKind.EMPTY_CONTENT), CHAT, chat(tools=("f",)))
    assert (received.message["content"], called(received)) == ("", [])


def test_tool_calls_can_be_spoiled_and_the_next_round_is_answered(endpoint: ModelEndpoint) -> None:
    def first_call(kind: FaultKind) -> Any:
        url = faulty(endpoint, kind)
        after = post(url, CHAT, chat(user("q"), *round_of("f"), tools=("f",)))
        assert after.message["content"] == Script().text
        return post(url, CHAT, chat(tools=("f",))).message["tool_calls"][0]["function"]

    with pytest.raises(json.JSONDecodeError):
        json.loads(first_call(FaultKind.BAD_TOOL_ARGUMENTS)["arguments"])
    assert "city" not in json.loads(first_call(FaultKind.WRONG_TOOL_ARGUMENTS)["arguments"])
    assert first_call(FaultKind.UNKNOWN_TOOL)["name"] != "f"


def test_structured_output_can_break_its_schema(endpoint: ModelEndpoint) -> None:
    url = faulty(endpoint, FaultKind.BAD_STRUCTURED_OUTPUT)
    asked = {"type": "json_schema", "json_schema": {"name": "o", "schema": OUTPUT}}
    content = post(url, CHAT, chat(response_format=asked)).message["content"]
    assert mismatch(OUTPUT, json.loads(content))
    forced = chat(tools=("Report",), tool_choice={"type": "function", "function": {"name": "Report"}})
    arguments = post(url, CHAT, forced).message["tool_calls"][0]["function"]["arguments"]
    assert "city" not in json.loads(arguments)
    free = post(url, CHAT, chat(response_format={"type": "json_object"})).message["content"]
    with pytest.raises(json.JSONDecodeError):
        json.loads(free)
    assert post(url, CHAT, chat()).message["content"] == Script().text


def test_endless_tools_never_answer_while_a_tool_is_offered(endpoint: ModelEndpoint) -> None:
    url = faulty(endpoint, FaultKind.ENDLESS_TOOLS)
    rounds = [message for _ in range(30) for message in round_of("f")]
    assert called(post(url, CHAT, chat(user("q"), *rounds, tools=("f",)))) == ["f"]
    assert post(url, CHAT, chat(user("q"), *rounds)).message["content"] == Script().text


@pytest.mark.parametrize("stream", [False, True])
def test_a_slow_body_arrives_whole_after_its_seconds(endpoint: ModelEndpoint, stream: bool) -> None:
    url = faulty(endpoint, FaultKind.SLOW_BODY, seconds=0.3)
    begun = time.monotonic()
    slow = post(url, CHAT, chat(stream=stream))
    assert time.monotonic() - begun >= 0.29
    assert slow.events if stream else slow.message["content"] == Script().text


def test_the_content_type_can_be_wrong(endpoint: ModelEndpoint) -> None:
    received = post(faulty(endpoint, FaultKind.WRONG_CONTENT_TYPE), CHAT, chat())
    assert received.headers["content-type"].startswith("text/plain")
    assert received.message["content"] == Script().text


def test_a_huge_answer_has_its_size_plain_and_streamed(endpoint: ModelEndpoint) -> None:
    url = faulty(endpoint, FaultKind.HUGE, size=3_000_000)
    assert len(post(url, CHAT, chat()).message["content"]) == 3_000_000
    parts = post(url, CHAT, chat(stream=True)).events
    assert sum(len(part["choices"][0]["delta"].get("content") or "") for part in parts) == 3_000_000


@pytest.mark.parametrize("reason", ["length", "content_filter"])
def test_the_finish_reason_can_be_one_of_failure(endpoint: ModelEndpoint, reason: str) -> None:
    url = faulty(endpoint, FaultKind.FINISH_REASON, finish_reason=reason)
    choice = post(url, CHAT, chat(tools=("f",))).json["choices"][0]
    assert choice["finish_reason"] == reason
    assert len(choice["message"]["content"]) < len(Script().text)
    answer = post(url, "/responses", {"model": "m", "input": "q"}).json
    assert (answer["status"], bool(answer["incomplete_details"]["reason"])) == ("incomplete", True)


def test_a_strict_script_refuses_tool_messages_without_calls_and_calls_without_results(
    endpoint: ModelEndpoint,
) -> None:
    url = endpoint.script("strict", Script(strict=True))
    orphan = {"role": "tool", "tool_call_id": "c9", "content": "sunny"}
    bad = [
        [user("q"), orphan],
        [user("q"), *round_of("f")[:1]],
        [user("q"), *round_of("f", "g")[:2], user("r")],
    ]
    assert [post(url, CHAT, chat(*messages)).status for messages in bad] == [400, 400, 400]
    assert post(url, CHAT, chat(user("q"), *round_of("f", "g"))).status == 200
