"""The runs of `launch`: a plain asset that asks the model, or two agent assets, one after the other.

`python -m benchmarks.launch_project` materializes them in this process and prints when each step started; Dagster's own
command line finds `defs`. BENCHMARK_ASSET is `plain` or a framework, ORCHESTRATOR_MODEL_URL the endpoint.
"""

import json
import os
import tempfile
import urllib.request
from collections.abc import Sequence
from typing import Any, Final

import dagster as dg

MARKERS: Final = {"first": "EXEC-1", "second": "EXEC-2"}


def plain_assets() -> list[dg.AssetsDefinition]:
    """Return one asset that asks the model itself."""

    @dg.asset
    def first() -> str:
        body = {"model": "scripted", "messages": [{"role": "user", "content": MARKERS["first"]}]}
        request = urllib.request.Request(
            f"{os.environ['ORCHESTRATOR_MODEL_URL']}/chat/completions", json.dumps(body).encode()
        )
        with urllib.request.urlopen(request) as answer:
            return str(json.load(answer)["choices"][0]["message"]["content"])

    return [first]


def agent_assets(framework: str) -> list[dg.AssetsDefinition]:
    """Return two assets of the framework's agent under test; the second one runs after the first."""
    # here, so that the plain run does not import them
    from benchmarks.frameworks import AGENTS, ENTRYPOINTS
    from orchestrator_assets import AgentSpec, InputSpec, agent_asset

    def make(key: str, deps: Sequence[str]) -> dg.AssetsDefinition:
        text = f"What is the weather in Paris? {MARKERS[key]}."
        crew = framework == "crewai"  # its inputs have names
        agent = AgentSpec(
            framework=framework,
            entrypoint=ENTRYPOINTS[framework],
            inputs={"prompt": InputSpec(value=text)} if crew else {},
            prompt=None if crew else text,
        )
        return agent_asset(
            agent, asset=dg.AssetSpec(key, deps=deps), code=AGENTS, files=[f"{framework}_agent.py"]
        )

    return [make("first", []), make("second", ["first"])]


def definitions() -> tuple[list[dg.AssetsDefinition], dict[str, Any]]:
    """Return assets and resources of the kind that the environment names."""
    kind = os.environ["BENCHMARK_ASSET"]
    if kind == "plain":
        return plain_assets(), {}
    from orchestrator_resources.agent_runtimes import AGENT_RUNTIMES

    return agent_assets(kind), {"agent_runtimes": AGENT_RUNTIMES}


def main() -> None:
    """Materialize every asset in this process."""
    assets, resources = definitions()
    with (
        tempfile.TemporaryDirectory(prefix="benchmark-") as folder,
        dg.DagsterInstance.local_temp(folder) as instance,
    ):
        result = dg.materialize(assets, instance=instance, resources=resources)
        started = {
            entry.step_key: entry.timestamp
            for entry in instance.all_logs(result.run_id, of_type=dg.DagsterEventType.STEP_START)
        }
    print(json.dumps(started))


if __name__ == "__main__":
    main()
elif "BENCHMARK_ASSET" in os.environ:
    _assets, _resources = definitions()
    defs = dg.Definitions(assets=_assets, resources=_resources)
