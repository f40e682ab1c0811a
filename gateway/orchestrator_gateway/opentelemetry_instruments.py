"""The instruments of the gateway's metrics: those of the GenAI and MCP conventions, and its own."""

from typing import Final

from opentelemetry.metrics import Counter, Histogram, Meter, UpDownCounter

SCOPE: Final = "orchestrator.gateway"

_TOKENS: Final = tuple(4.0**n for n in range(14))
_SECONDS: Final = tuple(0.01 * 2**n for n in range(14))
_AGENT_SECONDS: Final = tuple(0.1 * 2**n for n in range(13))
_CALLS: Final = tuple(2.0**n for n in range(8))
_WRITE_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
"""Bounds of histograms; all but the last as the conventions advise."""


class Instruments:
    """What is measured, by the names of the conventions where they have one."""

    def __init__(self, meter: Meter) -> None:
        """Make every instrument of a meter."""

        def histogram(name: str, unit: str, description: str, bounds: tuple[float, ...]) -> Histogram:
            return meter.create_histogram(name, unit, description, explicit_bucket_boundaries_advisory=bounds)

        self.usage = histogram(
            "gen_ai.client.token.usage", "{token}", "Number of input and output tokens used.", _TOKENS
        )
        self.duration = histogram(
            "gen_ai.client.operation.duration", "s", "GenAI operation duration.", _SECONDS
        )
        self.first_chunk = histogram(
            "gen_ai.client.operation.time_to_first_chunk",
            "s",
            "Time to receive the first chunk of a stream.",
            _SECONDS,
        )
        self.agent = histogram(
            "gen_ai.invoke_agent.duration", "s", "Duration of an agent's invocation.", _AGENT_SECONDS
        )
        self.agent_calls = histogram(
            "gen_ai.invoke_agent.inference_calls",
            "{inference_call}",
            "Model calls of an agent's invocation.",
            _CALLS,
        )
        self.agent_tools = histogram(
            "gen_ai.invoke_agent.tool_calls", "{tool_call}", "Tool calls of an agent's invocation.", _CALLS
        )
        self.tool = histogram("gen_ai.execute_tool.duration", "s", "Duration of a tool call.", _SECONDS)
        self.mcp = histogram(
            "mcp.client.operation.duration", "s", "Duration of a request to an MCP server.", _SECONDS
        )
        self.writes = histogram(
            f"{SCOPE}.journal.write.duration", "s", "How long an answer takes to be durable.", _WRITE_SECONDS
        )
        self.calls: Counter = meter.create_counter(
            f"{SCOPE}.calls", "{call}", "Calls of guests, by how they ended."
        )
        self.refusals: Counter = meter.create_counter(
            f"{SCOPE}.refusals", "{request}", "Requests that were refused or failed, by status."
        )
        self.in_flight: UpDownCounter = meter.create_up_down_counter(
            f"{SCOPE}.requests.in_flight", "{request}", "Requests that are being served."
        )
