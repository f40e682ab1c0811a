"""Spans and metrics of executions that have ended, from what the trusted side tells of them."""

from collections.abc import Sequence
from typing import Final

from opentelemetry import trace
from opentelemetry.context import Context

from orchestrator_gateway.call_spans import TOOL_ERROR
from orchestrator_gateway.execution_reports import NAME_CHARACTERS, ExecutionReport, ToolReport
from orchestrator_gateway.genai_facts import Attributes, execution_attributes
from orchestrator_gateway.opentelemetry_instruments import Instruments
from orchestrator_gateway.trace_contexts import ChosenIds, parent_context, span_context

_NANO: Final = 1_000_000_000


def tell(
    tracer: trace.Tracer,
    ids: ChosenIds,
    instruments: Instruments,
    tenant: str,
    reports: Sequence[ExecutionReport],
) -> None:
    """Make an `invoke_agent` span of each execution, with an `execute_tool` span of each of its tool calls.

    Args:
        tracer: Its provider takes ids from `ids`.
        ids: Gives a span the id that the execution's calls already have as their parent's.
        instruments: Get the metrics of the same.
        tenant: Whose executions these are.
        reports: One whose `traceparent` is none is passed over.
    """
    for report in reports:
        own = span_context(report.traceparent)
        if own is None:
            continue
        facts = execution_attributes(tenant, report)
        with ids.choosing(own):
            span = tracer.start_span(
                f"invoke_agent {report.name[:NAME_CHARACTERS]}".rstrip(),
                context=parent_context(report.parent, None),
                start_time=int(report.began * _NANO),
                attributes=facts,
            )
        within = trace.set_span_in_context(span)
        for tool in report.tools:
            _tell_tool(tracer, within, tenant, report, tool)
            _measure_tool(instruments, tenant, report, tool)
        if report.error is not None:
            span.set_status(trace.StatusCode.ERROR)
        span.end(int((report.began + report.seconds) * _NANO))
        _measure(instruments, tenant, report)


def _tell_tool(
    tracer: trace.Tracer, within: Context, tenant: str, report: ExecutionReport, tool: ToolReport
) -> None:
    name = tool.name[:NAME_CHARACTERS]
    facts: Attributes = {
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": name,
        "gen_ai.agent.id": report.agent,
        "orchestrator.tenant": tenant,
        "orchestrator.execution": report.execution,
        "orchestrator.replayed": tool.replayed,
    }
    if report.name:
        facts["gen_ai.agent.name"] = report.name
    if tool.failed:
        facts["error.type"] = TOOL_ERROR
    span = tracer.start_span(
        f"execute_tool {name}", context=within, start_time=int(tool.began * _NANO), attributes=facts
    )
    if tool.failed:
        span.set_status(trace.StatusCode.ERROR)
    span.end(int((tool.began + tool.seconds) * _NANO))


def _measure_tool(instruments: Instruments, tenant: str, report: ExecutionReport, tool: ToolReport) -> None:
    if tool.replayed:
        return
    failure = {"error.type": TOOL_ERROR} if tool.failed else {}
    instruments.tool.record(
        tool.seconds, {"gen_ai.tool.name": tool.name[:NAME_CHARACTERS], **_agent(tenant, report), **failure}
    )


def _measure(instruments: Instruments, tenant: str, report: ExecutionReport) -> None:
    agent = _agent(tenant, report)
    failure = {} if report.error is None else {"error.type": report.error}
    instruments.agent.record(report.seconds, agent | failure)
    instruments.agent_calls.record(report.usage.model_calls, agent)
    instruments.agent_tools.record(report.usage.tool_calls, agent)


def _agent(tenant: str, report: ExecutionReport) -> dict[str, str]:
    return {"gen_ai.agent.name": report.name[:NAME_CHARACTERS], "orchestrator.tenant": tenant}
