"""Traces of executions: each has a span of its own, which the gateway makes of what it is told when it has ended.

The span is named before the execution begins, so that its model calls and tool calls have it as their parent.
"""

import asyncio
import math
import os
import re
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from orchestrator_gateway.execution_reports import (
    MOST_REPORTS,
    MOST_TOOLS,
    NAME_CHARACTERS,
    ExecutionReport,
    ToolReport,
)
from orchestrator_resources.gateway import ModelGateway
from orchestrator_runtimes.errors import AgentError
from orchestrator_runtimes.events import Event, ToolCall
from orchestrator_runtimes.messages import Result, Usage

_TRACEPARENT: Final = re.compile(r"00-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-([0-9a-f]{2})")
_MOST_WAITING: Final = 10_000
"""Reports that wait to be sent; of more, the oldest are dropped: a receiver's fault must not fill this process."""

_CLOSE_SECONDS: Final = 5.0


@dataclass(frozen=True, kw_only=True)
class Trace:
    """A trace that executions belong to.

    Attributes:
        id: 32 hexadecimal digits.
        flags: Two digits of W3C trace context; the lowest bit says whether it is sampled.
        parent: Trace context of whoever asked for the run; None where the executions' spans begin the trace.
    """

    id: str
    flags: str
    parent: str | None = None

    @staticmethod
    def of(caller: str | None) -> "Trace":
        """Return the trace of whoever asked for a run, or a new one where nobody is named as W3C has it."""
        found = _TRACEPARENT.fullmatch(caller) if caller is not None else None
        if found is not None:
            return Trace(id=found[1], flags=found[2], parent=caller)
        new = secrets.token_hex(16)
        return Trace(id=new, flags="01" if _is_sampled(new) else "00")

    def span(self) -> str:
        """Return the trace context of a new span."""
        return f"00-{self.id}-{secrets.token_hex(8)}-{self.flags}"


def _is_sampled(trace: str) -> bool:
    """Return whether a trace that begins here is sampled, as OTEL_TRACES_SAMPLER has it and SDKs decide it."""
    kind = os.environ.get("OTEL_TRACES_SAMPLER", "").strip().lower().removeprefix("parentbased_")
    if kind == "always_off":
        return False
    if kind != "traceidratio":
        return True
    try:
        share = float(os.environ.get("OTEL_TRACES_SAMPLER_ARG", "1"))
    except ValueError:
        return True
    return int(trace[16:], 16) < round(share * 2**64)


class ExecutionTrace:
    """One execution on its way.

    Attributes:
        traceparent: Context of its span; None where it belongs to no trace.
    """

    def __init__(self, report: ExecutionReport | None, send: Callable[[ExecutionReport], None]) -> None:
        """Begin; `report` holds what is known before the end, and is None where nothing is to be told."""
        self.traceparent = None if report is None else report.traceparent
        self._report = report
        self._send = send
        self._began = time.monotonic()
        self._agent = ""
        self._tools: list[ToolReport] = []

    def loaded(self, agent: str) -> None:
        """Note the digest of the agent that runs."""
        self._agent = agent

    def on_event(self, event: Event) -> None:
        """Note a tool call that the guest tells of; what it says of its time is kept within the execution."""
        if self._report is None or not isinstance(event, ToolCall) or len(self._tools) >= MOST_TOOLS:
            return
        passed = time.monotonic() - self._began
        seconds = min(max(event.seconds, 0.0), passed) if math.isfinite(event.seconds) else 0.0
        self._tools.append(
            ToolReport(
                name=event.name[:NAME_CHARACTERS],
                began=self._report.began + passed - seconds,
                seconds=seconds,
                failed=event.error is not None,
                replayed=event.replayed,
            )
        )

    def ended(self, result: Result) -> None:
        """Tell of an execution that ended with a result, be it only a limit or a question."""
        self._tell(str(result.finish_reason), None, result.usage)

    def failed(self, error: BaseException) -> None:
        """Tell of one that failed or was cancelled."""
        usage = getattr(error, "usage", None)
        code = error.code.value if isinstance(error, AgentError) else "cancelled"
        self._tell(None, code, usage if isinstance(usage, Usage) else Usage())

    def _tell(self, finish_reason: str | None, error: str | None, usage: Usage) -> None:
        if self._report is None:
            return
        told = replace(
            self._report,
            agent=self._agent,
            seconds=time.monotonic() - self._began,
            finish_reason=finish_reason,
            error=error,
            usage=usage,
            tools=tuple(self._tools),
        )
        self._report = None
        self._send(told)


class ReportSender:
    """Sends reports to a gateway, those together that come while others are sent; what fails is told and dropped.

    Args:
        gateway: Makes spans of them, if it tells anybody; it is asked for that with the first report.
        tell: Takes a line about reports that are lost.
    """

    def __init__(self, gateway: ModelGateway, tell: Callable[[str], None]) -> None:
        """Begin with nothing to send."""
        self._gateway = gateway
        self._tell = tell
        self._waiting: list[ExecutionReport] = []
        self._sending: asyncio.Task[None] | None = None

    def send(self, report: ExecutionReport) -> None:
        """Send a report soon; to be called on the event loop."""
        if not self._gateway.watched:
            return
        self._waiting.append(report)
        del self._waiting[:-_MOST_WAITING]
        if self._sending is None:
            self._sending = asyncio.create_task(self._send_waiting())

    async def close(self) -> None:
        """Wait until everything is sent, for a few seconds at most."""
        if self._sending is not None:
            await asyncio.wait({self._sending}, timeout=_CLOSE_SECONDS)

    async def _send_waiting(self) -> None:
        while self._waiting:
            reports, self._waiting = self._waiting[:MOST_REPORTS], self._waiting[MOST_REPORTS:]
            try:
                await asyncio.to_thread(self._gateway.report, reports)
            except AgentError as error:
                self._tell(f"{len(reports)} executions are in no trace: {error}")
        self._sending = None
