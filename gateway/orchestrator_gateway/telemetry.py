"""Traces and metrics of the gateway, in the words of OpenTelemetry; off unless somebody asks for them.

The gateway sees every model call of every framework, so spans and metrics are made here and are the same for all six.
This module imports nothing of OpenTelemetry: a gateway that reports to nobody does not wait for it to be imported.
"""

import os
import ssl
import sys
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from aiohttp.typedefs import Middleware

from orchestrator_gateway.execution_reports import ExecutionReport
from orchestrator_gateway.journal import Answer
from orchestrator_gateway.tokens import Claims
from orchestrator_runtimes.json_values import Json

_ENDPOINTS: Final = (
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
    "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT",
)

_PROTOCOL: Final = "http/protobuf"

UpstreamStates = Callable[[], Mapping[str, Mapping[str, str | int]]]
"""Returns `breaker`, `busy` and `waiting` of each upstream, by its name."""


@dataclass(frozen=True, kw_only=True)
class TelemetrySettings:
    """Who is told what the gateway does; everything else follows the standard `OTEL_*` variables.

    Attributes:
        otlp_endpoint: Base address of an OTLP/HTTP receiver, such as `http://collector:4318`. None means that of
            `OTEL_EXPORTER_OTLP_ENDPOINT` and its like, and where there is none, nothing is sent.
        prometheus: `host:port` at which `/metrics` answers; None means that of `OTEL_EXPORTER_PROMETHEUS_HOST` and
            `OTEL_EXPORTER_PROMETHEUS_PORT` where `OTEL_METRICS_EXPORTER` names `prometheus`, and else nowhere. Never
            the address that guests call: the names of all tenants stand there.
        service_name: Of the resource; that of `OTEL_SERVICE_NAME` goes before it.
    """

    otlp_endpoint: str | None = None
    prometheus: str | None = None
    service_name: str = "orchestrator-gateway"


class TelemetryUnavailable(Exception):
    """Telemetry is asked for and cannot be given; the text says what to change."""


class CallWatch:
    """One call on its way, which nobody watches: every method does nothing."""

    def asks(self, base_url: str, model: str | None) -> None:
        """Note which endpoint is asked, and for which model; None is the one that the guest named.

        The last one counts where several stand in for each other.
        """

    def headers(self, sent: Mapping[str, str]) -> Mapping[str, str]:
        """Return a guest's headers as the endpoint gets them: with the trace context of this call."""
        return sent

    def first_piece(self) -> None:
        """Note that the guest is sent the first piece of a stream."""

    def answered(self, answer: Answer, *, replayed: bool = False, usable: bool = True) -> None:
        """Note the end of a call that was answered.

        Args:
            answer: What the guest gets.
            replayed: Whether an earlier try paid for it: then it is not counted as usage.
            usable: False when it cannot be used, so that it is not kept.
        """

    def failed(self, error: BaseException) -> None:
        """Note the end of a call that was not answered."""


class ToolWatch:
    """One tool call to an MCP server, which nobody watches: every method does nothing."""

    def headers(self, sent: Mapping[str, str]) -> Mapping[str, str]:
        """Return the headers that the server gets: with the trace context of this call."""
        return sent

    def answered(self, outcome: Mapping[str, Json], *, replayed: bool = False) -> None:
        """Note the end of a call that was answered.

        Args:
            outcome: `result` or `error`, as the protocol has them.
            replayed: Whether an earlier try made it.
        """

    def failed(self, error: BaseException) -> None:
        """Note the end of a call that was not answered."""


class Telemetry:
    """Tells nobody anything."""

    @property
    def told(self) -> bool:
        """Whether there is anybody to tell of executions; the trusted side reports none otherwise."""
        return False

    def model_call(self, path: str, body: Json, claims: Claims, headers: Mapping[str, str]) -> CallWatch:
        """Begin to watch a model call.

        Args:
            path: Below `/v1`.
            body: The parsed request.
            claims: Of the guest's token.
            headers: The guest's; its `traceparent` counts only within the trace that the token names.
        """
        return _UNWATCHED

    def tool_call(
        self, server: str, url: str, tool: str, claims: Claims, headers: Mapping[str, str]
    ) -> ToolWatch:
        """Begin to watch a tool call; `server` is its name in the configuration, the rest as for a model call."""
        return _UNWATCHED_TOOL

    def executions(self, tenant: str, reports: Sequence[ExecutionReport]) -> None:
        """Take executions of a tenant that have ended."""

    @contextmanager
    def journal_write(self) -> Generator[None]:
        """Measure how long an answer takes to be durable."""
        yield

    def watch_upstreams(self, states: UpstreamStates) -> None:
        """Offer what is known of each upstream, which is read when somebody asks."""

    def middlewares(self) -> Sequence[Middleware]:
        """Return what the web application is to pass every request through, outermost first."""
        return ()

    async def open(self, tls: ssl.SSLContext | None) -> None:
        """Begin to serve `/metrics`, where that is asked for.

        Args:
            tls: What its address speaks, as the gateway's own does; None speaks no TLS.

        Raises:
            TelemetryUnavailable: The address is taken or not of this machine.
        """

    async def close(self) -> None:
        """Send what was not sent yet, for a few seconds at most."""


_UNWATCHED: Final = CallWatch()
_UNWATCHED_TOOL: Final = ToolWatch()


def open_telemetry(settings: TelemetrySettings) -> Telemetry:
    """Return what the settings and the environment's standard variables ask for.

    Raises:
        TelemetryUnavailable: The settings ask for what is not installed or not understood. Variables that ask for it
            only make it say so: they may be meant for other programs of the machine.
    """
    prometheus = settings.prometheus or _prometheus_of_environment()
    endpoint = settings.otlp_endpoint or next(filter(None, map(os.environ.get, _ENDPOINTS)), None)
    disabled = os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"
    if disabled or not (endpoint or prometheus):
        return Telemetry()
    try:
        return _opened(settings, prometheus)
    except TelemetryUnavailable as error:
        if settings.otlp_endpoint or settings.prometheus:
            raise
        print(error, file=sys.stderr)
        return Telemetry()


def _opened(settings: TelemetrySettings, prometheus: str | None) -> Telemetry:
    protocol = os.environ.get("OTEL_EXPORTER_OTLP_PROTOCOL", _PROTOCOL)
    if protocol != _PROTOCOL:
        raise TelemetryUnavailable(
            f"the gateway sends telemetry as {_PROTOCOL}, and OTEL_EXPORTER_OTLP_PROTOCOL is {protocol!r}:"
            " name the receiver's HTTP port, or unset it"
        )
    try:
        from orchestrator_gateway.opentelemetry_export import OpenTelemetry
    except ModuleNotFoundError as error:
        raise TelemetryUnavailable(
            f"telemetry is asked for, but {error.name!r} is missing: install orchestrator-gateway[telemetry]"
        ) from error
    return OpenTelemetry(settings, prometheus)


def _prometheus_of_environment() -> str | None:
    asked = os.environ.get("OTEL_METRICS_EXPORTER", "").lower().split(",")
    if "prometheus" not in [name.strip() for name in asked]:
        return None
    host = os.environ.get("OTEL_EXPORTER_PROMETHEUS_HOST", "localhost")
    return f"{host}:{os.environ.get('OTEL_EXPORTER_PROMETHEUS_PORT', '9464')}"
