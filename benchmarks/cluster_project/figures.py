"""Definitions whose runs are measured on a cluster: they are in an image there, and the same run on this machine.

`python figures.py FRAMEWORK COUNT` runs a thousand here, or as many as are said, and prints the seconds of the agent's
step. ORCHESTRATOR_MODEL_URL says where the model is. Nothing of `benchmarks` is imported: the image does not hold it.
"""

# pyright: reportUnknownMemberType=false
# Dagster leaves some of its arguments without complete types.

import json
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import dagster as dg

from orchestrator_assets import (
    AgentSpec,
    ForEachSpec,
    InputSpec,
    LimitsSpec,
    PortableSpec,
    ToolSpec,
    agent_asset,
)
from orchestrator_resources.agent_runtimes import AGENT_RUNTIMES

AGENTS: Final = Path(__file__).with_name("figure_agents")
FRAMEWORKS: Final = ("agno", "langgraph")
IN_FLIGHT: Final = 400
"""Executions at once: all that two guest processes take by default."""
COUNT: Final = 1_000


class Count(dg.Config):
    """How many items there are."""

    count: int = COUNT


@dg.asset
def questions(config: Count) -> list[str]:
    """Return the items, each with a marker of its own."""
    return [f"EXEC-{number}" for number in range(config.count)]


def portable(model: str) -> PortableSpec:
    """Return an agent that asks its model, calls a tool, and asks again."""
    tools = [ToolSpec(function="weather:weather")]
    return PortableSpec(instructions="You know the weather.", model_name=model, temperature=0, tools=tools)


def many(framework: str) -> list[dg.AssetsDefinition]:
    """Return an asset with an execution for each item, and one that counts the wrong answers."""
    spec = AgentSpec(
        framework=framework,
        portable=portable("second"),
        prompt="What is the weather in Paris? {item}.",
        inputs={"item": InputSpec(asset="questions")},
        for_each=ForEachSpec(input="item", in_flight=IN_FLIGHT),
        limits=LimitsSpec(seconds=300),
    )

    @dg.asset(name=f"judged_{framework}", ins={"rows": dg.AssetIn(f"many_{framework}")})
    def judged(questions: list[str], rows: list[Mapping[str, Any]]) -> None:
        wrong = [
            item for item, row in zip(questions, rows, strict=True) if not str(row["output"]).endswith(item)
        ]
        if wrong:
            raise dg.Failure(
                f"{len(wrong)} of {len(rows)} answers are not those of their questions: {wrong[:5]}"
            )

    return [agent_asset(spec, asset=dg.AssetSpec(f"many_{framework}"), code=AGENTS), judged]


def one(name: str, model: str) -> dg.AssetsDefinition:
    """Return an agent with one execution."""
    spec = AgentSpec(framework="langgraph", portable=portable(model), prompt="What is the weather? EXEC-1.")
    return agent_asset(spec, asset=dg.AssetSpec(name), code=AGENTS)


@dg.asset
def plain() -> None:
    """Do nothing."""


@dg.asset
def wrong() -> None:
    """Fail."""
    raise dg.Failure("it fails, as it should")


@dg.asset
def endless() -> None:
    """Never come to an end."""
    time.sleep(100_000)


def job(name: str, *assets: str) -> Any:  # Dagster's type of it has no public name
    """Return a job whose steps are all in the run's own process."""
    return dg.define_asset_job(name, list(assets), executor_def=dg.in_process_executor)


defs = dg.Definitions(
    assets=[
        questions,
        *(asset for framework in FRAMEWORKS for asset in many(framework)),
        one("agent", "quick"),
        one("slow_agent", "slow"),
        plain,
        wrong,
        endless,
    ],
    jobs=[
        *(job(f"run_many_{name}", "questions", f"many_{name}", f"judged_{name}") for name in FRAMEWORKS),
        *(job(f"run_{name}", name) for name in ("agent", "slow_agent", "plain", "wrong", "endless")),
    ],
    resources={"agent_runtimes": AGENT_RUNTIMES},
)


def main() -> None:
    """Run the command line."""
    framework, count = sys.argv[1], int(sys.argv[2])
    with (
        tempfile.TemporaryDirectory(prefix="benchmark-") as folder,
        dg.DagsterInstance.local_temp(folder) as instance,
    ):
        config = {"ops": {"questions": {"config": {"count": count}}}}
        result = defs.resolve_job_def(f"run_many_{framework}").execute_in_process(config, instance=instance)
        times = {
            entry.dagster_event.event_type: entry.timestamp
            for entry in instance.all_logs(result.run_id)
            if entry.dagster_event and entry.step_key == f"many_{framework}"
        }
    kinds = dg.DagsterEventType
    print(json.dumps({"seconds": times[kinds.STEP_SUCCESS] - times[kinds.STEP_START]}))


if __name__ == "__main__":
    main()
