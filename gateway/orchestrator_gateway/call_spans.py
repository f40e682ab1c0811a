"""Spans and metrics of one call on its way: of a model, or of a tool of an MCP server."""

import time
from collections.abc import Mapping
from typing import Any, Final

from opentelemetry import trace

from orchestrator_gateway.genai_facts import (
    Attributes,
    answer_attributes,
    request_attributes,
    server_attributes,
    tool_attributes,
    usage_attributes,
    whose_attributes,
)
from orchestrator_gateway.journal import Answer
from orchestrator_gateway.opentelemetry_instruments import Instruments
from orchestrator_gateway.refusals import Refused
from orchestrator_gateway.telemetry import CallWatch, ToolWatch
from orchestrator_gateway.tokens import Claims
from orchestrator_gateway.trace_contexts import headers_with, parent_context
from orchestrator_runtimes.errors import ErrorCode
from orchestrator_runtimes.json_values import Json

TOOL_ERROR: Final = "tool_error"
"""`error.type` of a tool that told an error of its own."""

_DIMENSIONS: Final = (
    "gen_ai.operation.name",
    "gen_ai.provider.name",
    "gen_ai.request.model",
    "gen_ai.response.model",
    "server.address",
    "server.port",
)
"""Attributes of a call that its metrics have too. The SDK bounds how many combinations are kept."""


class ModelCallSpan(CallWatch):
    """One model call: a span, and what the metrics say of it."""

    def __init__(
        self,
        tracer: trace.Tracer,
        instruments: Instruments,
        path: str,
        body: Json,
        claims: Claims,
        headers: Mapping[str, str],
    ) -> None:
        """Begin; arguments as for `Telemetry.model_call`."""
        self._instruments = instruments
        self._began = time.perf_counter()
        self._first: float | None = None
        self._ended = False
        self._facts: Attributes = request_attributes(path, body)
        self._alias = str(self._facts.get("gen_ai.request.model", ""))
        self._tenant = claims.tenant
        self._span = tracer.start_span(
            self._name(),
            context=parent_context(claims.traceparent, headers.get("traceparent")),
            kind=trace.SpanKind.CLIENT,
            attributes={**self._facts, **whose_attributes(claims)},
        )

    def asks(self, base_url: str, model: str | None) -> None:
        """Note which endpoint is asked, and for which model."""
        self._facts |= server_attributes(base_url)
        if model is not None:
            self._facts["orchestrator.alias"] = self._alias
            self._facts["gen_ai.request.model"] = model

    def headers(self, sent: Mapping[str, str]) -> Mapping[str, str]:
        """Return a guest's headers with the trace context of this call."""
        return headers_with(sent, self._span)

    def first_piece(self) -> None:
        """Note that the guest is sent the first piece of a stream."""
        if self._first is None:
            self._first = time.perf_counter() - self._began

    def answered(self, answer: Answer, *, replayed: bool = False, usable: bool = True) -> None:
        """Note the end of a call that was answered."""
        self._facts |= answer_attributes(answer)
        self._span.set_attribute("orchestrator.replayed", replayed)
        if replayed:
            self._end("replayed", None)
            return
        usage = usage_attributes(answer)
        self._span.set_attributes(usage)
        for kind in ("input", "output"):
            if (tokens := usage.get(f"gen_ai.usage.{kind}_tokens")) is not None:
                self._instruments.usage.record(
                    _number(tokens), {**self._dimensions(), "gen_ai.token.type": kind}
                )
        if answer.content_type.startswith("text/event-stream"):
            self.first_piece()  # the guest had none yet: all of the stream came at once
        if self._first is not None:
            self._span.set_attribute("gen_ai.response.time_to_first_chunk", self._first)
            self._instruments.first_chunk.record(self._first, self._dimensions())
        self._end(*(("answered", None) if usable else ("unusable", ErrorCode.MODEL_BAD_OUTPUT.value)))

    def failed(self, error: BaseException) -> None:
        """Note the end of a call that was not answered; what is told after a call's end does not count."""
        if self._ended:
            return
        self._span.set_attribute("orchestrator.replayed", False)
        self._end("failed", str(error.status) if isinstance(error, Refused) else type(error).__name__)

    def _end(self, outcome: str, error: str | None) -> None:
        self._ended = True
        failure: dict[str, str] = {}
        if error is not None:
            failure["error.type"] = error
            self._span.set_status(trace.StatusCode.ERROR)
        self._span.update_name(self._name())
        self._span.set_attributes({**self._facts, **failure})
        self._span.end()
        if outcome != "replayed":
            took = time.perf_counter() - self._began
            self._instruments.duration.record(took, {**self._dimensions(), **failure})
        counted = {"outcome": outcome, "orchestrator.tenant": self._tenant}
        self._instruments.calls.add(
            1, counted | {"gen_ai.operation.name": str(self._facts["gen_ai.operation.name"])}
        )

    def _name(self) -> str:
        facts = self._facts
        return f"{facts['gen_ai.operation.name']} {facts.get('gen_ai.request.model', '')}".rstrip()

    def _dimensions(self) -> dict[str, Any]:
        known: dict[str, Any] = {name: self._facts[name] for name in _DIMENSIONS if name in self._facts}
        return known | {"orchestrator.tenant": self._tenant}


class ToolCallSpan(ToolWatch):
    """One call of a tool of an MCP server, by the conventions for clients of the protocol."""

    def __init__(
        self,
        tracer: trace.Tracer,
        instruments: Instruments,
        server: str,
        url: str,
        tool: str,
        claims: Claims,
        headers: Mapping[str, str],
    ) -> None:
        """Begin; arguments as for `Telemetry.tool_call`."""
        self._instruments = instruments
        self._began = time.perf_counter()
        self._ended = False
        facts = tool_attributes(url, tool)
        self._dimensions: dict[str, Any] = {**facts, "orchestrator.tenant": claims.tenant}
        self._span = tracer.start_span(
            f"tools/call {facts['gen_ai.tool.name']}",
            context=parent_context(claims.traceparent, headers.get("traceparent")),
            kind=trace.SpanKind.CLIENT,
            attributes={**facts, "orchestrator.mcp_server": server, **whose_attributes(claims)},
        )

    def headers(self, sent: Mapping[str, str]) -> Mapping[str, str]:
        """Return the headers that the server gets, with the trace context of this call."""
        return headers_with(sent, self._span)

    def answered(self, outcome: Mapping[str, Json], *, replayed: bool = False) -> None:
        """Note the end of a call that was answered."""
        told = outcome.get("result")
        error = outcome.get("error")
        if isinstance(error, Mapping):
            self._end(str(error.get("code")), replayed=replayed)
        else:
            says = isinstance(told, Mapping) and told.get("isError") is True
            self._end(TOOL_ERROR if says else None, replayed=replayed)

    def failed(self, error: BaseException) -> None:
        """Note the end of a call that was not answered; what is told after a call's end does not count."""
        self._end(type(error).__name__, replayed=False)

    def _end(self, error: str | None, *, replayed: bool) -> None:
        if self._ended:
            return
        self._ended = True
        failure = {} if error is None else {"error.type": error}
        if error is not None:
            self._span.set_status(trace.StatusCode.ERROR)
        self._span.set_attributes({"orchestrator.replayed": replayed, **failure})
        self._span.end()
        if not replayed:
            self._instruments.mcp.record(time.perf_counter() - self._began, {**self._dimensions, **failure})


def _number(value: object) -> int:
    assert isinstance(value, int)
    return value
