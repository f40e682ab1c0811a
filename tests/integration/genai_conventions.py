"""Names of the GenAI and MCP semantic conventions, as packages have them; their module is not stable yet."""

import importlib
import inspect
from typing import Final

from tests.integration.otlp_receiver import Receiver

_INCUBATING: Final = "opentelemetry.semconv._incubating"
_MODULES: Final = (
    f"{_INCUBATING}.attributes.gen_ai_attributes",
    f"{_INCUBATING}.attributes.mcp_attributes",
    f"{_INCUBATING}.metrics.gen_ai_metrics",
    f"{_INCUBATING}.metrics.mcp_metrics",
    "opentelemetry.semconv.attributes.error_attributes",
    "opentelemetry.semconv.attributes.server_attributes",
)
_SINCE: Final = {
    "gen_ai.invoke_agent.duration",
    "gen_ai.invoke_agent.inference_calls",
    "gen_ai.invoke_agent.tool_calls",
    "gen_ai.execute_tool.duration",
}
"""Metrics of semantic-conventions-genai that no release of the package has yet."""


def unknown_names(receiver: Receiver) -> set[str]:
    """Return names of attributes and metrics that were sent and are neither of the conventions nor our own."""
    known = {
        value
        for module in map(importlib.import_module, _MODULES)
        for name, value in inspect.getmembers(module)
        if name.isupper() and isinstance(value, str)
    }
    points = [point for of_metric in receiver.metrics.values() for point in of_metric]
    attributes = [told.attributes for told in receiver.spans] + [point.attributes for point in points]
    sent = {name for of_one in attributes for name in of_one} | set(receiver.metrics)
    own = {name for name in sent if name.startswith("orchestrator.")} | {
        "outcome",
        "http.response.status_code",
    }
    return sent - known - own - _SINCE


def operations() -> set[str]:
    """Return the values that `gen_ai.operation.name` may have."""
    return {item.value for item in importlib.import_module(_MODULES[0]).GenAiOperationNameValues}
