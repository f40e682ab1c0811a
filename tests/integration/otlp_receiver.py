"""An OTLP/HTTP receiver for tests: it decodes what comes with the protocol's own messages."""

import contextlib
import gzip
import threading
from collections.abc import Generator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)


@dataclass(frozen=True, kw_only=True)
class Span:
    """A span that was received; ids are hex, kind and status are the protocol's numbers."""

    name: str
    trace: str
    id: str
    parent: str
    kind: int
    status: int
    seconds: float
    attributes: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Point:
    """One value of a metric: a sum, or a histogram's count and sum."""

    attributes: dict[str, Any]
    count: int
    sum: float
    bounds: tuple[float, ...] = ()


class Receiver:
    """What was received so far."""

    def __init__(self) -> None:
        self.spans: list[Span] = []
        self.metrics: dict[str, list[Point]] = {}
        self.units: dict[str, str] = {}
        self.resources: list[dict[str, Any]] = []
        self.raw: list[bytes] = []
        self.headers: list[dict[str, str]] = []
        self.url = ""

    def take_spans(self, request: Any) -> None:
        for of_resource in request.resource_spans:
            self.resources.append(_attributes(of_resource.resource.attributes))
            for scope in of_resource.scope_spans:
                self.spans += [_span(span) for span in scope.spans]

    def take_metrics(self, request: Any) -> None:
        for of_resource in request.resource_metrics:
            for scope in of_resource.scope_metrics:
                for metric in scope.metrics:
                    data = getattr(metric, metric.WhichOneof("data"))
                    self.units[metric.name] = metric.unit
                    self.metrics[metric.name] = [_point(point) for point in data.data_points]


@contextlib.contextmanager
def receiving() -> Generator[Receiver]:
    """Receive until the block ends."""
    receiver = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            if self.headers.get("content-encoding") == "gzip":
                body = gzip.decompress(body)
            receiver.raw.append(body)
            receiver.headers.append({name.lower(): value for name, value in self.headers.items()})
            answer: Any
            if self.path == "/v1/traces":
                receiver.take_spans(ExportTraceServiceRequest.FromString(body))
                answer = ExportTraceServiceResponse()
            else:
                receiver.take_metrics(ExportMetricsServiceRequest.FromString(body))
                answer = ExportMetricsServiceResponse()
            told = answer.SerializeToString()
            self.send_response(200)
            self.send_header("content-type", "application/x-protobuf")
            self.send_header("content-length", str(len(told)))
            self.end_headers()
            self.wfile.write(told)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    receiver.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield receiver
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _span(span: Any) -> Span:
    return Span(
        name=span.name,
        trace=span.trace_id.hex(),
        id=span.span_id.hex(),
        parent=span.parent_span_id.hex(),
        kind=span.kind,
        status=span.status.code,
        seconds=(span.end_time_unix_nano - span.start_time_unix_nano) / 1e9,
        attributes=_attributes(span.attributes),
    )


def _point(point: Any) -> Point:
    attributes = _attributes(point.attributes)
    if hasattr(point, "bucket_counts"):
        return Point(
            attributes=attributes, count=point.count, sum=point.sum, bounds=tuple(point.explicit_bounds)
        )
    value = getattr(point, point.WhichOneof("value"))
    return Point(attributes=attributes, count=1, sum=value)


def _attributes(pairs: Any) -> dict[str, Any]:
    return {pair.key: _value(pair.value) for pair in pairs}


def _value(value: Any) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [_value(item) for item in value.array_value.values]
    return getattr(value, kind)
