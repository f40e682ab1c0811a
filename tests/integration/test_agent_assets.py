"""Agents as assets, through Dagster's own doors, with the fake framework and a scripted model."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from orchestrator_assets import (
    AgentSpec,
    ForEachSpec,
    InputSpec,
    LimitsSpec,
    PortableSpec,
    ToolSpec,
    agent_asset,
)
from orchestrator_assets.execution_specs import GpuSpec, RetrySpec
from orchestrator_gateway.dispatch import TRIES
from orchestrator_resources.agent_runtimes import AgentRuntimes
from orchestrator_resources.gateway import DRAIN_SECONDS
from orchestrator_runtimes.conformance.model_endpoint import ModelEndpoint
from orchestrator_runtimes.conformance.scripts import Fault, FaultKind, Script
from tests.fake_nvml import MB, FakeNvml
from tests.integration.processes import alive

pytestmark = pytest.mark.usefixtures("fake_framework")

TOOLS = '''
import os

def weather(city: str) -> str:
    """Tell the weather in a city."""
    return "sunny in " + city
'''


@pytest.fixture
def code(tmp_path: Path) -> Path:
    folder = tmp_path / "code"
    folder.mkdir()
    (folder / "tools.py").write_text(TOOLS)
    return folder


def spec(**changes: Any) -> AgentSpec:
    portable = PortableSpec(instructions="Help.", tools=[ToolSpec(function="tools:weather")])
    given: dict[str, Any] = {
        "framework": "fake",
        "portable": portable,
        "prompt": "hello EXEC-1",
        "retries": RetrySpec(max=0),
    }
    return AgentSpec(**{**given, **changes})


def materialize(
    assets: list[Any], endpoint: ModelEndpoint, script: Script | None = None, **options: Any
) -> dg.ExecuteInProcessResult:
    endpoint.reset()
    url = endpoint.script("assets", script or Script(echo=r"EXEC-\d+"))
    return dg.materialize(
        assets, resources={"agent_runtimes": AgentRuntimes(model_url=url, processes=1)}, **options
    )


def metadata(result: dg.ExecuteInProcessResult, key: str) -> dict[str, Any]:
    (event,) = [
        e for e in result.get_asset_materialization_events() if e.asset_key == dg.AssetKey(key.split("/"))
    ]
    return {name: getattr(value, "value", value) for name, value in event.materialization.metadata.items()}


def test_one_execution_is_one_materialization_with_what_it_cost(endpoint: ModelEndpoint, code: Path) -> None:
    asset = agent_asset(spec(), asset=dg.AssetSpec(["answers", "one"]), code=code)
    result = materialize([asset], endpoint)
    assert result.output_for_node("answers__one", "result") == "It is sunny in Paris, 21 C. EXEC-1"
    told = metadata(result, "answers/one")
    calls = list(endpoint.calls)
    assert told["framework"] == "Fake" and told["framework_version"] == "1"
    assert (told["model_calls"], told["tool_calls"], told["executions"], told["failed"]) == (2, 1, 1, 0)
    assert told["input_tokens"] == sum(call.input_tokens for call in calls)
    assert told["finish_reasons"] == {"completed": 1}
    assert len(told["agent"]) == len(told["environment"]) == 64
    assert calls[0].headers["traceparent"].split("-")[1] == told["trace_id"]


def test_gpus_that_are_not_there_are_asked_for_in_vain(endpoint: ModelEndpoint, code: Path) -> None:
    asset = agent_asset(spec(gpu=GpuSpec(type="H100")), asset=dg.AssetSpec("answers"), code=code)
    result = materialize([asset], endpoint, raise_on_error=False)
    error = result.failure_data_for_node("answers")
    assert error is not None and "the agent asks for 1 H100 GPU, and this machine has" in str(error.error)
    assert endpoint.count == 0


def test_what_a_gpu_did_stands_beside_what_the_models_did(
    endpoint: ModelEndpoint, code: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nvml = FakeNvml("NVIDIA H100", "NVIDIA H100")
    nvml.memory = [9 * MB]
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    asset = agent_asset(spec(gpu=GpuSpec(count=2, type="H100")), asset=dg.AssetSpec("answers"), code=code)
    told = metadata(materialize([asset], endpoint), "answers")
    assert told["gpus"] == "NVIDIA H100, NVIDIA H100" and 0 < told["gpu_busy"] <= 1
    assert told["gpu_memory_peak_mb"] == 9 and told["gpu_energy_joules"] > 0


def test_for_each_runs_one_execution_for_each_row_of_an_upstream_asset(
    endpoint: ModelEndpoint, code: Path
) -> None:
    @dg.asset
    def documents() -> list[dict[str, str]]:
        return [{"name": f"d{n}", "text": f"EXEC-{n}"} for n in range(25)]

    agent = spec(
        prompt="read {document[text]}",
        inputs={"document": InputSpec(asset="documents")},
        for_each=ForEachSpec(input="document", key="name"),
    )
    asset = agent_asset(agent, asset=dg.AssetSpec("reviews"), code=code)
    result = materialize([documents, asset], endpoint)
    rows = result.output_for_node("reviews", "result")
    assert [row["key"] for row in rows] == [f"d{n}" for n in range(25)]
    assert [row["output"].split()[-1] for row in rows] == [f"EXEC-{n}" for n in range(25)]
    assert {row["status"] for row in rows} == {"completed"}
    assert metadata(result, "reviews")["executions"] == 25


def test_failed_rows_are_kept_with_their_error(endpoint: ModelEndpoint, code: Path) -> None:
    @dg.asset
    def numbers() -> list[int]:
        return list(range(6))

    agent = spec(
        prompt="n is {n}", inputs={"n": InputSpec(asset="numbers")}, for_each=ForEachSpec(input="n", on_failure="keep"),
        limits=LimitsSpec(steps=1),
    )  # fmt: skip
    asset = agent_asset(agent, asset=dg.AssetSpec("kept"), code=code)
    result = materialize([numbers, asset], endpoint)
    rows = result.output_for_node("kept", "result")
    assert {row["error_code"] for row in rows} == {"limit_exceeded"}
    assert metadata(result, "kept")["finish_reasons"] == {"failed: limit_exceeded": 6}


def test_a_failure_carries_code_and_cause_and_is_retried_only_when_that_can_help(
    endpoint: ModelEndpoint, code: Path
) -> None:
    def run(status: int) -> tuple[dg.ExecuteInProcessResult, int]:
        script = Script(faults=(Fault(kind=FaultKind.STATUS, status=status),))
        agent = spec(retries=RetrySpec(max=1, delay_seconds=0))
        asset = agent_asset(agent, asset=dg.AssetSpec("failing"), code=code)
        return materialize([asset], endpoint, script, raise_on_error=False), endpoint.count

    refused, calls = run(401)
    data: Any = refused.get_step_failure_events()[0].event_specific_data
    assert "model_rejected: the model endpoint answered 401" in data.user_failure_data.description
    assert data.user_failure_data.metadata["retryable"].value is False
    assert calls == 1
    _, calls = run(503)
    assert TRIES < calls <= 2 * TRIES, (
        "by the gateway, and by the step until the endpoint is left alone for a while"
    )


def test_a_retry_of_the_step_runs_only_what_was_not_finished(endpoint: ModelEndpoint, code: Path) -> None:
    @dg.asset
    def words() -> list[str]:
        return [f"EXEC-{n}" for n in range(8)]

    script = Script(faults=(Fault(kind=FaultKind.STATUS, status=503, calls=(1,), first=5, scope="script"),))
    agent = spec(
        prompt="say {word}", inputs={"word": InputSpec(asset="words")}, for_each=ForEachSpec(input="word", in_flight=1),
        retries=RetrySpec(max=6, delay_seconds=0), portable=PortableSpec(instructions="Help."),
    )  # fmt: skip
    asset = agent_asset(agent, asset=dg.AssetSpec("retried"), code=code)
    result = materialize([words, asset], endpoint, script)
    assert len(result.output_for_node("retried", "result")) == 8
    assert endpoint.count == 5 + 8, "five faults, and each item answered once"


def test_inputs_come_from_partition_and_launchpad(endpoint: ModelEndpoint, code: Path) -> None:
    agent = spec(
        prompt="{day} {tone}", inputs={"day": InputSpec(partition_key=True), "tone": InputSpec(value="dry")},
        portable=PortableSpec(instructions="Help."),
    )  # fmt: skip
    partitions = dg.StaticPartitionsDefinition(["EXEC-7", "EXEC-8"])
    asset = agent_asset(agent, asset=dg.AssetSpec("daily", partitions_def=partitions), code=code)
    config = dg.RunConfig(ops={"daily": {"config": {"inputs": {"tone": "EXEC-99"}}}})
    result = materialize([asset], endpoint, partition_key="EXEC-8", run_config=config)
    assert result.output_for_node("daily", "result").endswith("EXEC-8 EXEC-99")


def test_an_asset_is_stale_exactly_when_agent_tools_or_inputs_changed(
    endpoint: ModelEndpoint, code: Path
) -> None:
    def version(**changes: Any) -> str | None:
        asset = agent_asset(spec(**changes), asset=dg.AssetSpec("x"), code=code)
        return asset.get_asset_spec(dg.AssetKey("x")).code_version

    first = version()
    assert version() == first
    assert version(retries=RetrySpec(max=3)) == first, "how often it is retried does not change what it makes"
    assert version(prompt="other") != first
    assert version(inputs={"a": InputSpec(value=1)}) != first
    (code / "defs.yaml").write_text("type: x")
    assert version() == first
    (code / "tools.py").write_text(TOOLS + "\n# changed\n")
    assert version() != first


def test_equal_outputs_have_equal_data_versions(endpoint: ModelEndpoint, code: Path) -> None:
    asset = agent_asset(spec(), asset=dg.AssetSpec("versioned"), code=code)
    with dg.DagsterInstance.ephemeral() as instance:  # pyright: ignore[reportUnknownMemberType]  # settings: a bare dict
        tags: list[str] = []
        for _ in range(2):
            result = materialize([asset], endpoint, instance=instance)
            (event,) = result.get_asset_materialization_events()
            tags.append((event.materialization.tags or {})["dagster/data_version"])
    assert tags[0] == tags[1]


def test_a_thousand_executions_are_few_rows_in_the_event_log(endpoint: ModelEndpoint, code: Path) -> None:
    @dg.asset
    def many() -> list[int]:
        return list(range(1_000))

    agent = spec(
        prompt="n {n}", inputs={"n": InputSpec(asset="many")}, for_each=ForEachSpec(input="n", in_flight=100),
        portable=PortableSpec(instructions="Help."),
    )  # fmt: skip
    asset = agent_asset(agent, asset=dg.AssetSpec("thousand"), code=code)
    with dg.DagsterInstance.ephemeral() as instance:  # pyright: ignore[reportUnknownMemberType]  # settings: a bare dict
        result = materialize([many, asset], endpoint, instance=instance)
        assert len(instance.all_logs(result.run_id)) < 150
    assert len(result.output_for_node("thousand", "result")) == 1_000


def test_terminating_the_run_ends_the_guest_and_its_children(
    endpoint: ModelEndpoint, code: Path, tmp_path: Path, home: Path
) -> None:
    url = endpoint.script("hangs", Script(faults=(Fault(kind=FaultKind.HANG),)))
    script = tmp_path / "run.py"
    script.write_text(f"""
import dagster as dg
from pathlib import Path
from orchestrator_assets import AgentSpec, PortableSpec, agent_asset
from orchestrator_resources.agent_runtimes import AgentRuntimes
asset = agent_asset(AgentSpec(framework="fake", portable=PortableSpec(instructions="x"), prompt="hi"),
                    asset=dg.AssetSpec("hanging"), code=Path({str(code)!r}))
dg.materialize([asset], resources={{"agent_runtimes": AgentRuntimes(model_url={url!r})}})
""")
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(tmp_path / "plugin"), *sys.path]),
        "ORCHESTRATOR_HOME": str(home),
    }
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
        endpoint.reset()
        process = subprocess.Popen([sys.executable, str(script)], env=environment, stderr=subprocess.DEVNULL)
        _until(lambda: endpoint.count == 1, 60)
        children = _descendants(process.pid)
        assert len(children) >= 2, "guardian and guest"
        process.send_signal(number)
        process.wait(30)
        # the gateway waits a while for answers that are on their way
        _until(lambda: not any(alive(pid) for pid in children), 15 + DRAIN_SECONDS)  # noqa: B023  # called at once


def _until(holds: Any, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.05)


def _descendants(pid: int) -> list[int]:
    found: list[int] = []
    wait = [pid]
    while wait:
        current = wait.pop()
        for task in Path(f"/proc/{current}/task").glob("*/children"):
            below = [int(word) for word in task.read_text().split()]
            found += below
            wait += below
    return found
