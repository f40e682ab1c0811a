"""Telemetry through OpenTelemetry: spans and metrics by the GenAI semantic conventions, sent by OTLP and to Prometheus.

Imported only where telemetry is asked for.
"""

import asyncio
import os
import sys
import threading
import time
import uuid
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware
from multidict import CIMultiDict
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.metrics import CallbackOptions, Observation
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import MetricReader, PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from orchestrator_gateway.genai_facts import (
    Attributes,
    answer_attributes,
    request_attributes,
    server_attributes,
    usage_attributes,
)
from orchestrator_gateway.journal import Answer
from orchestrator_gateway.refusals import Refused
from orchestrator_gateway.telemetry import (
    CallWatch,
    Telemetry,
    TelemetrySettings,
    TelemetryUnavailable,
    UpstreamStates,
)
from orchestrator_gateway.tokens import Claims
from orchestrator_runtimes.errors import ErrorCode
from orchestrator_runtimes.json_values import Json

SCOPE: Final = "orchestrator.gateway"
CLOSE_SECONDS: Final = 3.0
"""How long the gateway stays for a receiver that does not answer."""

_TOKENS: Final = tuple(4.0**n for n in range(14))
_SECONDS: Final = tuple(0.01 * 2**n for n in range(14))
"""Bounds of histograms, as the GenAI conventions advise."""

_WRITE_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
_DIMENSIONS: Final = (
    "gen_ai.operation.name",
    "gen_ai.provider.name",
    "gen_ai.request.model",
    "gen_ai.response.model",
    "server.address",
    "server.port",
)
"""Attributes of a call that its metrics have too. The SDK bounds how many combinations are kept."""

_TRACE_CONTEXT: Final = TraceContextTextMapPropagator()


class OpenTelemetry(Telemetry):
    """Tells an OTLP receiver, Prometheus, or both.

    Args:
        settings: See there; everything else follows the standard variables.
        prometheus: `host:port` of `/metrics`; None opens none.
    """

    def __init__(self, settings: TelemetrySettings, prometheus: str | None) -> None:
        """Begin to tell."""
        resource = _resource(settings.service_name)
        self._prometheus = prometheus
        self._required = settings.prometheus is not None
        self._registry = CollectorRegistry()
        self._serving: web.AppRunner | None = None
        self._tracers = TracerProvider(resource=resource, shutdown_on_exit=False)
        if (to := _signal("TRACES", settings)) is not None:
            self._tracers.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=to or None)))
        readers: list[MetricReader] = []
        if (to := _signal("METRICS", settings)) is not None:
            readers.append(PeriodicExportingMetricReader(OTLPMetricExporter(endpoint=to or None)))
        if prometheus is not None:
            readers.append(PrometheusMetricReader(registry=self._registry, scope_info_enabled=False))
        self._meters = MeterProvider(metric_readers=readers, resource=resource, shutdown_on_exit=False)
        self.tracer = self._tracers.get_tracer(SCOPE)
        self._meter = meter = self._meters.get_meter(SCOPE)
        self.usage = meter.create_histogram(
            "gen_ai.client.token.usage",
            "{token}",
            "Number of input and output tokens used.",
            explicit_bucket_boundaries_advisory=_TOKENS,
        )
        self.duration = meter.create_histogram(
            "gen_ai.client.operation.duration",
            "s",
            "GenAI operation duration.",
            explicit_bucket_boundaries_advisory=_SECONDS,
        )
        self.first_chunk = meter.create_histogram(
            "gen_ai.client.operation.time_to_first_chunk",
            "s",
            "Time to receive the first chunk of a stream.",
            explicit_bucket_boundaries_advisory=_SECONDS,
        )
        self.calls = meter.create_counter(f"{SCOPE}.calls", "{call}", "Calls of guests, by how they ended.")
        self._refusals = meter.create_counter(
            f"{SCOPE}.refusals", "{request}", "Requests that were refused or failed, by status."
        )
        self._in_flight = meter.create_up_down_counter(
            f"{SCOPE}.requests.in_flight", "{request}", "Requests that are being served."
        )
        self._writes = meter.create_histogram(
            f"{SCOPE}.journal.write.duration",
            "s",
            "How long an answer takes to be durable.",
            explicit_bucket_boundaries_advisory=_WRITE_SECONDS,
        )

    def model_call(self, path: str, body: Json, claims: Claims, headers: Mapping[str, str]) -> CallWatch:
        """Begin a span and the measurements of a model call."""
        return _Watch(self, request_attributes(path, body), claims, headers)

    @contextmanager
    def journal_write(self) -> Generator[None]:
        """Measure how long an answer takes to be durable."""
        began = time.perf_counter()
        yield
        self._writes.record(time.perf_counter() - began)

    def watch_upstreams(self, states: UpstreamStates) -> None:
        """Offer what is known of each upstream."""

        def offer(
            name: str, unit: str, description: str, value: Callable[[str | int], int], key: str
        ) -> None:
            def read(_options: CallbackOptions) -> Iterable[Observation]:
                found = states().items()
                return [
                    Observation(value(known[key]), {"orchestrator.upstream": who}) for who, known in found
                ]

            self._meter.create_observable_gauge(f"{SCOPE}.upstream.{name}", [read], unit, description)

        offer("busy", "{call}", "Calls that an upstream is answering.", int, "busy")
        offer("waiting", "{call}", "Calls that wait for their turn at an upstream.", int, "waiting")
        offer("open", "1", "1 while an upstream is left alone, 0 while it is asked.", _is_open, "breaker")

    def middlewares(self) -> Sequence[Middleware]:
        """Return what counts requests."""
        return (self._counted,)

    async def open(self) -> None:
        """Begin to serve `/metrics`."""
        if self._prometheus is None:
            return
        host, _, port = self._prometheus.rpartition(":")
        app = web.Application()
        app.router.add_get("/metrics", self._exposition)
        self._serving = web.AppRunner(app, access_log=None)
        await self._serving.setup()
        try:
            await web.TCPSite(self._serving, host or None, int(port)).start()
        except (OSError, ValueError, OverflowError) as error:
            await self._serving.cleanup()
            told = (
                f"/metrics cannot be served at {self._prometheus!r}, which must be a free host:port: {error}"
            )
            if self._required:
                raise TelemetryUnavailable(told) from error
            print(told, file=sys.stderr)

    async def close(self) -> None:
        """Send what was not sent yet, for a few seconds at most."""
        if self._serving is not None:
            await self._serving.cleanup()
        threads = [
            threading.Thread(target=provider.shutdown, name="telemetry", daemon=True)
            for provider in (self._tracers, self._meters)
        ]
        for thread in threads:
            thread.start()
        end = time.monotonic() + CLOSE_SECONDS
        for thread in threads:
            await asyncio.to_thread(thread.join, max(0.0, end - time.monotonic()))

    async def _exposition(self, _request: web.Request) -> web.Response:
        text = await asyncio.to_thread(generate_latest, self._registry)
        return web.Response(body=text, headers={"content-type": CONTENT_TYPE_PLAIN_0_0_4})

    @web.middleware
    async def _counted(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        self._in_flight.add(1)
        status = 500
        try:
            response = await handler(request)
            status = response.status
            return response
        except web.HTTPException as error:
            status = error.status
            raise
        finally:
            self._in_flight.add(-1)
            if status >= 400:
                self._refusals.add(1, {"http.response.status_code": status})


class _Watch(CallWatch):
    """One model call: a span, and what the metrics say of it."""

    def __init__(
        self, telemetry: OpenTelemetry, asked: Attributes, claims: Claims, headers: Mapping[str, str]
    ) -> None:
        self._telemetry = telemetry
        self._began = time.perf_counter()
        self._first: float | None = None
        self._ended = False
        self._facts: Attributes = asked
        self._alias = str(asked.get("gen_ai.request.model", ""))
        self._tenant = claims.tenant
        own: Attributes = {
            "gen_ai.agent.id": claims.agent,
            "orchestrator.tenant": claims.tenant,
            "orchestrator.execution": claims.execution,
            "orchestrator.attempt": claims.attempt,
        }
        if claims.run is not None:
            own["orchestrator.run"] = claims.run
        if claims.name:
            own["gen_ai.agent.name"] = claims.name
        if claims.location:
            own["orchestrator.location"] = claims.location
        self._span = telemetry.tracer.start_span(
            self._name(),
            context=parent_context(claims.traceparent, headers.get("traceparent")),
            kind=trace.SpanKind.CLIENT,
            attributes={**asked, **own},
        )

    def asks(self, base_url: str, model: str | None) -> None:
        """Note which endpoint is asked, and for which model."""
        self._facts |= server_attributes(base_url)
        if model is not None:
            self._facts["orchestrator.alias"] = self._alias
            self._facts["gen_ai.request.model"] = model

    def headers(self, sent: Mapping[str, str]) -> Mapping[str, str]:
        """Return a guest's headers with the trace context of this call."""
        headers = CIMultiDict(sent)
        headers.popall("tracestate", None)
        carrier: dict[str, str] = {}
        _TRACE_CONTEXT.inject(carrier, trace.set_span_in_context(self._span))
        headers.update(carrier)
        return headers

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
                self._telemetry.usage.record(
                    _number(tokens), {**self._dimensions(), "gen_ai.token.type": kind}
                )
        if answer.content_type.startswith("text/event-stream"):
            self.first_piece()  # the guest had none yet: all of the stream came at once
        if self._first is not None:
            self._span.set_attribute("gen_ai.response.time_to_first_chunk", self._first)
            self._telemetry.first_chunk.record(self._first, self._dimensions())
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
            self._telemetry.duration.record(took, {**self._dimensions(), **failure})
        counted = {"outcome": outcome, "orchestrator.tenant": self._tenant}
        self._telemetry.calls.add(
            1, counted | {"gen_ai.operation.name": str(self._facts["gen_ai.operation.name"])}
        )

    def _name(self) -> str:
        facts = self._facts
        return f"{facts['gen_ai.operation.name']} {facts.get('gen_ai.request.model', '')}".rstrip()

    def _dimensions(self) -> dict[str, Any]:
        known: dict[str, Any] = {name: self._facts[name] for name in _DIMENSIONS if name in self._facts}
        return known | {"orchestrator.tenant": self._tenant}


def parent_context(own: str | None, sent: str | None) -> Any:
    """Return the context that a call's span belongs to: an empty one where it begins a trace of its own.

    Args:
        own: `traceparent` that the trusted side named; None when it named none.
        sent: That of the guest, which may name a span of its own within the same trace, and nothing else: neither
            another trace, nor that this one is not to be sampled.
    """
    ours = _span_context(own)
    if ours is None:
        return trace.set_span_in_context(trace.INVALID_SPAN)
    theirs = _span_context(sent)
    if theirs is not None and theirs.trace_id == ours.trace_id:
        ours = trace.SpanContext(ours.trace_id, theirs.span_id, is_remote=True, trace_flags=ours.trace_flags)
    return trace.set_span_in_context(trace.NonRecordingSpan(ours))


def _span_context(traceparent: str | None) -> trace.SpanContext | None:
    if traceparent is None:
        return None
    found = trace.get_current_span(
        _TRACE_CONTEXT.extract(
            {"traceparent": traceparent}, context=trace.set_span_in_context(trace.INVALID_SPAN)
        )
    ).get_span_context()
    return found if found.is_valid else None


def _is_open(breaker: str | int) -> int:
    return int(breaker != "closed")


def _number(value: object) -> int:
    assert isinstance(value, int)
    return value


def _resource(service_name: str) -> Resource:
    attributes: dict[str, str] = {"service.instance.id": str(uuid.uuid4())}
    named = "service.name=" in os.environ.get("OTEL_RESOURCE_ATTRIBUTES", "")
    if not (os.environ.get("OTEL_SERVICE_NAME") or named):
        attributes["service.name"] = service_name
    return Resource.create(attributes)


def _signal(signal: str, settings: TelemetrySettings) -> str | None:
    """Return where a signal goes: an address, the empty text for where the variables say, None for nowhere."""
    exporters = os.environ.get(f"OTEL_{signal}_EXPORTER", "otlp").lower().split(",")
    if "otlp" not in [name.strip() for name in exporters]:
        return None
    if settings.otlp_endpoint:
        return f"{settings.otlp_endpoint.rstrip('/')}/v1/{signal.lower()}"
    variables = (f"OTEL_EXPORTER_OTLP_{signal}_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
    return "" if any(map(os.environ.get, variables)) else None
