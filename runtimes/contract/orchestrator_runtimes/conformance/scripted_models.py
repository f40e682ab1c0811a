"""The application behind a scripted endpoint: every request becomes a `Call` and a `Reply`."""

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from hashlib import blake2b
from typing import Final, cast
from urllib.parse import parse_qs, urlsplit

from orchestrator_runtimes.conformance.answers import decide
from orchestrator_runtimes.conformance.calls import Call, CallLog
from orchestrator_runtimes.conformance.chat_completions import CREATED, Frame, completion, completion_events
from orchestrator_runtimes.conformance.conversations import (
    Conversation,
    MalformedRequest,
    check_tool_messages,
    of_chat,
    of_responses,
    tokens,
)
from orchestrator_runtimes.conformance.embeddings import embeddings, texts_of
from orchestrator_runtimes.conformance.http_connections import HttpConnection
from orchestrator_runtimes.conformance.http_requests import HttpRequest
from orchestrator_runtimes.conformance.json_tree import JsonObject, as_object, as_text
from orchestrator_runtimes.conformance.replies import (
    Reply,
    error_reply,
    event_reply,
    json_reply,
    refusal_of,
    spoiled,
)
from orchestrator_runtimes.conformance.responses import response, response_events
from orchestrator_runtimes.conformance.scripts import Fault, Script

_ROUTE: Final = re.compile(r"(?:/m/(?P<script>[^/]+))?/v1(?P<path>/.*)")
_POSTED: Final = ("/chat/completions", "/responses", "/embeddings")
_NOT_LOGGED: Final = -1
_MOST_COUNTED: Final = 200_000


@dataclass(kw_only=True)
class ScriptedModels:
    """Scripts by name, the calls they got, and how often their faults struck.

    Attributes:
        scripts: By name; the empty name is the default script.
        log: Every request below a base URL.
        most_body_bytes: Longest request body that is read.
        connections: The connections open now.
    """

    scripts: dict[str, Script]
    log: CallLog
    most_body_bytes: int
    connections: set[HttpConnection] = field(default_factory=set[HttpConnection])
    _struck: dict[tuple[object, ...], int] = field(default_factory=dict[tuple[object, ...], int])

    def opened(self, connection: HttpConnection) -> None:
        """Remember an open connection."""
        self.connections.add(connection)

    def closed(self, connection: HttpConnection) -> None:
        """Forget a connection."""
        self.connections.discard(connection)

    def ended(self, number: int, *, disconnected: bool) -> None:
        """Take note that the reply to a call is over."""
        if number != _NOT_LOGGED:
            self.log.end(number, disconnected=disconnected)

    def reset(self) -> None:
        """Forget every call and start each fault's count anew."""
        self.log.reset()
        self._struck.clear()

    def answer(self, request: HttpRequest) -> tuple[int, Reply]:
        """Return the call's number and the reply to any request."""
        path = request.target.partition("?")[0]
        if path.startswith("/admin/"):
            return _NOT_LOGGED, self._admin(request, path)
        route = _ROUTE.fullmatch(path)
        name = (route["script"] or "") if route else ""
        inner = route["path"] if route else path
        body = _json_object(request.body)
        call = self.log.begin(request, name, inner, body)
        if route is None or inner not in (*_POSTED, "/models"):
            reply = error_reply(404, f"nothing is served at {path!r}")
        elif name not in self.scripts:
            reply = error_reply(404, f"there is no script {name!r}")
        elif (request.method == "POST") != (inner in _POSTED):
            reply = error_reply(405, f"{request.method} is not allowed at {path!r}")
        elif inner == "/models":
            reply = json_reply(_models(name))
        elif body is None:
            reply = error_reply(400, "the request body is not a JSON object")
        else:
            try:
                call, reply = self._model_reply(self.scripts[name], call, body, request)
            except MalformedRequest as error:
                reply = error_reply(400, str(error))
        self.log.keep(replace(call, status=reply.status, streamed=reply.streamed))
        return call.number, reply

    def _model_reply(
        self, script: Script, call: Call, body: JsonObject, request: HttpRequest
    ) -> tuple[Call, Reply]:
        if not as_text(body.get("model")):
            raise MalformedRequest("'model' must name a model")
        if call.path == "/embeddings":
            texts = texts_of(body)
            fault = self._fault(script, call, 1, texts[0])
            reply = refusal_of(fault) or json_reply(embeddings(body, texts))
            call = replace(call, input_tokens=sum(map(tokens, texts)))
        else:
            conversation = (of_chat if call.path == "/chat/completions" else of_responses)(body)
            if script.strict:
                check_tool_messages(conversation)
            fault = self._fault(script, call, conversation.call, conversation.key)
            call = replace(call, turn_call=conversation.call)
            refusal = refusal_of(fault)
            if refusal:
                reply = refusal
            else:
                call, reply = _answered(script, call, body, conversation, fault, request)
        reply = replace(spoiled(reply, fault), latency=script.latency)
        return replace(call, fault=fault.kind if fault else None), reply

    def _fault(self, script: Script, call: Call, turn_call: int, conversation_key: str) -> Fault | None:
        for index, fault in enumerate(script.faults):
            if fault.calls and turn_call not in fault.calls:
                continue
            if fault.first is None:
                return fault
            key: tuple[object, ...] = (call.script, index)
            if fault.scope == "conversation":
                key += (call.execution, conversation_key, turn_call if fault.calls else 0)
            struck = self._struck.get(key, 0)
            if struck < fault.first:
                self._struck[key] = struck + 1
                if len(self._struck) > _MOST_COUNTED:
                    del self._struck[next(iter(self._struck))]
                return fault
        return None

    def _admin(self, request: HttpRequest, path: str) -> Reply:
        if path == "/admin/reset" and request.method == "POST":
            self.reset()
            return json_reply({})
        if path == "/admin/calls" and request.method == "GET":
            asked = parse_qs(urlsplit(request.target).query)
            calls = [call for call in self.log.calls if asked.get("script", [call.script]) == [call.script]]
            return json_reply(
                {
                    "count": self.log.count,
                    "active": self.log.active,
                    "peak_active": self.log.peak_active,
                    "calls": [_plain(call, bodies=asked.get("bodies") == ["1"]) for call in calls],
                }
            )
        return error_reply(404, f"nothing is served at {request.method} {path!r}")


def _answered(
    script: Script,
    call: Call,
    body: JsonObject,
    conversation: Conversation,
    fault: Fault | None,
    request: HttpRequest,
) -> tuple[Call, Reply]:
    answer = decide(script, conversation, fault)
    frame = Frame(
        id=blake2b(f"{call.script}\n{call.execution}\n".encode() + request.body, digest_size=8).hexdigest(),
        model=as_text(body.get("model")),
        input_tokens=tokens(conversation.prompt),
        output_tokens=answer.output_tokens,
    )
    streamed = body.get("stream") is True
    if call.path == "/responses":
        reply = (
            event_reply(response_events(answer, frame)) if streamed else json_reply(response(answer, frame))
        )
    elif streamed:
        include_usage = as_object(body.get("stream_options")).get("include_usage") is True
        reply = event_reply(completion_events(answer, frame, include_usage=include_usage))
    else:
        reply = json_reply(completion(answer, frame))
    if streamed:
        reply = replace(reply, pause=script.chunk_latency)
    return replace(call, input_tokens=frame.input_tokens, output_tokens=frame.output_tokens), reply


def _json_object(body: bytes) -> JsonObject | None:
    try:
        value: object = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return as_object(cast(object, value)) if isinstance(value, dict) else None


def _models(script: str) -> JsonObject:
    model = {"id": script or "scripted", "object": "model", "created": CREATED, "owned_by": "scripted"}
    return {"object": "list", "data": [model]}


def _plain(call: Call, *, bodies: bool) -> Mapping[str, object]:
    plain = asdict(replace(call, body=call.body if bodies else None))
    return plain if bodies else {name: value for name, value in plain.items() if name != "body"}
