"""Which trace and which parent a span of the gateway has."""

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import Final

from multidict import CIMultiDict
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

_TRACE_CONTEXT: Final = TraceContextTextMapPropagator()


class ChosenIds(RandomIdGenerator):
    """Makes up ids, but for spans whose ids others have chosen, since what they called was told of them before."""

    def __init__(self) -> None:
        """Begin with no choice."""
        self._chosen: trace.SpanContext | None = None

    @contextmanager
    def choosing(self, chosen: trace.SpanContext) -> Generator[None]:
        """Give the one span that is started in the block these ids; it must not wait for anything."""
        self._chosen = chosen
        try:
            yield
        finally:
            self._chosen = None

    def generate_trace_id(self) -> int:
        """Return the id of a trace that begins."""
        return self._chosen.trace_id if self._chosen is not None else super().generate_trace_id()

    def generate_span_id(self) -> int:
        """Return the id of a span that begins."""
        return self._chosen.span_id if self._chosen is not None else super().generate_span_id()


def parent_context(own: str | None, sent: str | None) -> Context:
    """Return the context that a call's span belongs to: an empty one where it begins a trace of its own.

    Args:
        own: `traceparent` that the trusted side named; None when it named none.
        sent: That of the guest, which may name a span of its own within the same trace, and nothing else: neither
            another trace, nor that this one is not to be sampled.
    """
    ours = span_context(own)
    if ours is None:
        return trace.set_span_in_context(trace.INVALID_SPAN)
    theirs = span_context(sent)
    if theirs is not None and theirs.trace_id == ours.trace_id:
        ours = trace.SpanContext(ours.trace_id, theirs.span_id, is_remote=True, trace_flags=ours.trace_flags)
    return trace.set_span_in_context(trace.NonRecordingSpan(ours))


def span_context(traceparent: str | None) -> trace.SpanContext | None:
    """Return what a `traceparent` names; None where it is none."""
    if traceparent is None:
        return None
    found = trace.get_current_span(
        _TRACE_CONTEXT.extract(
            {"traceparent": traceparent}, context=trace.set_span_in_context(trace.INVALID_SPAN)
        )
    ).get_span_context()
    return found if found.is_valid else None


def headers_with(sent: Mapping[str, str], span: trace.Span) -> Mapping[str, str]:
    """Return headers of a guest with a span's trace context in place of the guest's."""
    headers = CIMultiDict(sent)
    headers.popall("tracestate", None)
    carrier: dict[str, str] = {}
    _TRACE_CONTEXT.inject(carrier, trace.set_span_in_context(span))
    headers.update(carrier)
    return headers
