"""Executions as traces: an agent's span with its model calls and tool calls below it, the same in every framework."""

# pyright: reportUnknownMemberType=false
# Dagster leaves some of its arguments without complete types.

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import dagster as dg
import pytest

from orchestrator_assets import (
    AgentSpec,
    ForEachSpec,
    InputSpec,
    PortableSpec,
    ToolSpec,
    agent_asset,
)
from orchestrator_assets.agent_specs import McpSpec
from orchestrator_resources.agent_runtimes import AgentRuntimes
from orchestrator_runtimes.conformance.model_endpoint import ModelEndpoint
from orchestrator_runtimes.conformance.scripts import Fault, FaultKind, Script
from orchestrator_runtimes.profiles import installed_frameworks
from tests.integration import genai_conventions
from tests.integration.agent_materializations import fake_agent, metadata
from tests.integration.order_servers import order_server
from tests.integration.otlp_receiver import Receiver, Span
from tests.integration.processes import wait_until

TRACE: Final = "4bf92f3577b34da6a3ce929d0e0e4736"
STEP: Final = "00f067aa0ba902b7"
ERROR: Final = 2
INTERNAL: Final = 1
CLIENT: Final = 3
PARAMETERS: Final = {
    "gen_ai.request.stream",
    "gen_ai.request.temperature",
    "gen_ai.output.type",
    "gen_ai.response.time_to_first_chunk",
}
"""What a framework may ask its model for, and another one not."""

TOOLS: Final = """
def weather(city: str) -> str:
    'Tell the weather in a city.'
    return "sunny in " + city

def broken(city: str) -> str:
    'Fail.'
    raise ValueError("no station in " + city)
"""


@pytest.fixture
def code(tmp_path: Path) -> Path:
    """A folder with the tools' code."""
    folder = tmp_path / "code"
    folder.mkdir()
    (folder / "tools.py").write_text(TOOLS)
    return folder


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[Path]:
    """A file that names a running MCP server."""
    with order_server(tmp_path / "told") as url:
        file = tmp_path / "servers.yaml"
        file.write_text(f"mcp_servers: {{orders: {{url: {url!r}}}}}\n")
        yield file


def materialize(
    assets: list[Any], url: str, *, caller: str | None = f"00-{TRACE}-{STEP}-01", **options: Any
) -> dg.ExecuteInProcessResult:
    runtimes = AgentRuntimes(model_url=url, processes=1, **options)
    tags = {} if caller is None else {"traceparent": caller}
    return dg.materialize(assets, resources={"agent_runtimes": runtimes}, tags=tags, raise_on_error=False)


def tree(spans: list[Span]) -> list[tuple[str, int, str, list[str]]]:
    """Return what does not differ between frameworks: names, kinds, parents and which attributes there are."""
    names = {span.id: span.name for span in spans}
    return sorted(
        (span.name, span.kind, names.get(span.parent, span.parent), sorted(set(span.attributes) - PARAMETERS))
        for span in spans
    )


@pytest.mark.timeout(900)
def test_the_spans_of_six_frameworks_are_the_same_and_belong_to_the_run_and_to_its_caller(
    receiver: Receiver, endpoint: ModelEndpoint, code: Path, servers: Path
) -> None:
    tools = [
        ToolSpec(function="tools:weather"),
        ToolSpec(mcp=McpSpec(server="orders", include=["order"])),
    ]
    portable = PortableSpec(instructions="Help.", model_name="m", tools=tools)
    url = endpoint.script("said", Script(tool=("weather", "order")))
    trees: dict[str, Any] = {}
    for framework in sorted(set(installed_frameworks()) - {"fake"}):
        endpoint.reset()
        receiver.spans.clear()
        asset = agent_asset(
            AgentSpec(framework=framework, portable=portable, prompt="hello"),
            asset=dg.AssetSpec("answer"),
            code=code,
        )
        result = materialize([asset], url, mcp_servers=str(servers))
        told = metadata(result, "answer")
        wait_until(lambda: len(receiver.spans) == 6, f"{framework}: every span is there")
        assert told["trace_id"] == TRACE
        assert {span.trace for span in receiver.spans} == {TRACE}
        assert {span.attributes["orchestrator.execution"] for span in receiver.spans} == {
            receiver.spans[0].attributes["orchestrator.execution"]
        }
        assert {span.attributes["gen_ai.agent.id"] for span in receiver.spans} == {told["agent"]}
        (root,) = [span for span in receiver.spans if span.parent == STEP]
        assert root.attributes["orchestrator.run"] == result.run_id
        assert root.attributes["orchestrator.framework"] == framework
        assert root.attributes["gen_ai.usage.input_tokens"] == told["input_tokens"]
        chats = [span for span in receiver.spans if span.name == "chat m"]
        assert sum(span.attributes["gen_ai.usage.input_tokens"] for span in chats) == told["input_tokens"]
        assert root.seconds >= max(span.seconds for span in receiver.spans)
        trees[framework] = tree(receiver.spans)
    for framework, found in trees.items():
        assert found == trees["agno"], framework
    assert [(name, kind, parent) for name, kind, parent, _ in trees["agno"]] == [
        ("chat m", CLIENT, "invoke_agent answer"),
        ("chat m", CLIENT, "invoke_agent answer"),
        ("execute_tool order", INTERNAL, "invoke_agent answer"),
        ("execute_tool weather", INTERNAL, "invoke_agent answer"),
        ("invoke_agent answer", INTERNAL, STEP),
        ("tools/call order", CLIENT, "invoke_agent answer"),
    ]
    assert genai_conventions.unknown_names(receiver) == set()


def fake_with(*tools: str, **changes: Any) -> AgentSpec:
    sources = [ToolSpec(function=f"tools:{tool}") for tool in tools]
    return fake_agent(portable=PortableSpec(instructions="Help.", model_name="m", tools=sources), **changes)


@pytest.mark.usefixtures("fake_framework")
def test_what_fails_says_so_in_its_span_and_in_the_metrics(
    receiver: Receiver, endpoint: ModelEndpoint, code: Path
) -> None:
    endpoint.reset()
    down = Script(faults=(Fault(kind=FaultKind.STATUS, status=401, calls=(2,)),))
    asset = agent_asset(fake_with("broken"), asset=dg.AssetSpec("answer"), code=code)
    assert not materialize([asset], endpoint.script("down", down)).success
    wait_until(lambda: len(receiver.spans) == 4, "every span is there")
    found = {span.name: span for span in receiver.spans}
    root, tool = found["invoke_agent answer"], found["execute_tool broken"]
    assert (root.status, root.attributes["error.type"]) == (ERROR, "model_rejected")
    assert "orchestrator.finish_reason" not in root.attributes
    assert (tool.status, tool.attributes["error.type"]) == (ERROR, "tool_error")
    assert root.attributes["gen_ai.usage.input_tokens"] > 0, "what was spent before"
    agent = {"gen_ai.agent.name": "answer", "orchestrator.tenant": "local"}
    (duration,) = receiver.metrics["gen_ai.invoke_agent.duration"]
    assert duration.attributes == {**agent, "error.type": "model_rejected"}
    assert duration.sum == pytest.approx(root.seconds, abs=0.01)
    (calls,) = receiver.metrics["gen_ai.invoke_agent.inference_calls"]
    (tools,) = receiver.metrics["gen_ai.invoke_agent.tool_calls"]
    assert (calls.attributes, calls.sum, tools.attributes, tools.sum) == (agent, 2, agent, 1)
    (took,) = receiver.metrics["gen_ai.execute_tool.duration"]
    assert took.attributes == {**agent, "gen_ai.tool.name": "broken", "error.type": "tool_error"}
    assert genai_conventions.unknown_names(receiver) == set()


@pytest.mark.usefixtures("fake_framework")
def test_each_execution_of_a_batch_begins_with_a_span_of_its_own_where_nobody_asked(
    receiver: Receiver, endpoint: ModelEndpoint
) -> None:
    @dg.asset
    def documents() -> list[str]:
        return [f"document {number}" for number in range(250)]

    endpoint.reset()
    agent = fake_agent(
        inputs={"document": InputSpec(asset="documents")},
        prompt="{document}",
        for_each=ForEachSpec(input="document"),
    )
    result = materialize(
        [documents, agent_asset(agent, asset=dg.AssetSpec("read"))], endpoint.base_url, caller=None
    )
    told = metadata(result, "read")
    wait_until(lambda: len(receiver.spans) == 500, "every span is there")
    assert {span.trace for span in receiver.spans} == {told["trace_id"]}
    roots = {span.id: span for span in receiver.spans if span.name == "invoke_agent read"}
    assert len(roots) == 250 and {span.parent for span in roots.values()} == {""}
    for span in receiver.spans:
        if span.id not in roots:
            own = roots[span.parent].attributes["orchestrator.execution"]
            assert span.attributes["orchestrator.execution"] == own


@pytest.mark.usefixtures("fake_framework")
@pytest.mark.parametrize("caller", [f"00-{TRACE}-{STEP}-00", None], ids=["by the caller", "by the share"])
def test_a_trace_that_is_not_sampled_is_not_sampled_as_a_whole(
    receiver: Receiver,
    endpoint: ModelEndpoint,
    code: Path,
    monkeypatch: pytest.MonkeyPatch,
    caller: str | None,
) -> None:
    endpoint.reset()
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "parentbased_traceidratio")
    monkeypatch.setenv("OTEL_TRACES_SAMPLER_ARG", "0")
    asset = agent_asset(fake_with("weather"), asset=dg.AssetSpec("answer"), code=code)
    assert materialize([asset], endpoint.base_url, caller=caller).success
    wait_until(lambda: bool(receiver.metrics), "metrics are sent at the end")
    assert receiver.spans == [] and endpoint.count == 2
