"""Telemetry through OpenTelemetry: spans and metrics by the GenAI semantic conventions, sent by OTLP and to Prometheus.

Imported only where telemetry is asked for.
"""

import asyncio
import os
import ssl
import sys
import threading
import time
import uuid
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from typing import Final

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.metrics import CallbackOptions, Observation
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import MetricReader, PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from orchestrator_gateway import execution_spans
from orchestrator_gateway.call_spans import ModelCallSpan, ToolCallSpan
from orchestrator_gateway.execution_reports import ExecutionReport
from orchestrator_gateway.opentelemetry_instruments import SCOPE, Instruments
from orchestrator_gateway.telemetry import (
    CallWatch,
    Telemetry,
    TelemetrySettings,
    TelemetryUnavailable,
    ToolWatch,
    UpstreamStates,
)
from orchestrator_gateway.tokens import Claims
from orchestrator_gateway.trace_contexts import ChosenIds
from orchestrator_runtimes.json_values import Json

CLOSE_SECONDS: Final = 3.0
"""How long the gateway stays for a receiver that does not answer."""


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
        self._ids = ChosenIds()
        self._tracers = TracerProvider(resource=resource, shutdown_on_exit=False, id_generator=self._ids)
        if (to := _signal("TRACES", settings)) is not None:
            self._tracers.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=to or None)))
        readers: list[MetricReader] = []
        if (to := _signal("METRICS", settings)) is not None:
            readers.append(PeriodicExportingMetricReader(OTLPMetricExporter(endpoint=to or None)))
        if prometheus is not None:
            readers.append(PrometheusMetricReader(registry=self._registry, scope_info_enabled=False))
        self._meters = MeterProvider(metric_readers=readers, resource=resource, shutdown_on_exit=False)
        self._tracer = self._tracers.get_tracer(SCOPE)
        self._meter = meter = self._meters.get_meter(SCOPE)
        self._instruments = Instruments(meter)

    @property
    def told(self) -> bool:
        """True: there is somebody."""
        return True

    def model_call(self, path: str, body: Json, claims: Claims, headers: Mapping[str, str]) -> CallWatch:
        """Begin a span and the measurements of a model call."""
        return ModelCallSpan(self._tracer, self._instruments, path, body, claims, headers)

    def tool_call(
        self, server: str, url: str, tool: str, claims: Claims, headers: Mapping[str, str]
    ) -> ToolWatch:
        """Begin a span and the measurement of a call to an MCP server."""
        return ToolCallSpan(self._tracer, self._instruments, server, url, tool, claims, headers)

    def executions(self, tenant: str, reports: Sequence[ExecutionReport]) -> None:
        """Make the spans and metrics of executions that have ended."""
        execution_spans.tell(self._tracer, self._ids, self._instruments, tenant, reports)

    @contextmanager
    def journal_write(self) -> Generator[None]:
        """Measure how long an answer takes to be durable."""
        began = time.perf_counter()
        yield
        self._instruments.writes.record(time.perf_counter() - began)

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

    async def open(self, tls: ssl.SSLContext | None) -> None:
        """Begin to serve `/metrics`."""
        if self._prometheus is None:
            return
        host, _, port = self._prometheus.rpartition(":")
        app = web.Application()
        app.router.add_get("/metrics", self._exposition)
        self._serving = web.AppRunner(app, access_log=None)
        await self._serving.setup()
        try:
            await web.TCPSite(self._serving, host or None, int(port), ssl_context=tls).start()
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
        self._instruments.in_flight.add(1)
        status = 500
        try:
            response = await handler(request)
            status = response.status
            return response
        except web.HTTPException as error:
            status = error.status
            raise
        finally:
            self._instruments.in_flight.add(-1)
            if status >= 400:
                self._instruments.refusals.add(1, {"http.response.status_code": status})


def _is_open(breaker: str | int) -> int:
    return int(breaker != "closed")


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
