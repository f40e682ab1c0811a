"""The Dagster job of a trial: an asset of items, and an agent asset with one execution for each of them."""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import dagster as dg

from kills.plot import INSTRUCTIONS, ONCE, OUTPUT_SCHEMA, TOOLS, marker
from orchestrator_assets.agent_assets import agent_asset
from orchestrator_assets.agent_specs import AgentSpec, PortableSpec, ToolSpec
from orchestrator_assets.execution_specs import ForEachSpec, InputSpec, LimitsSpec, RetrySpec
from orchestrator_resources.agent_runtimes import AgentRuntimes

AGENTS: Final = Path(__file__).parent / "agents"
ASSET: Final = "bought"
VARIABLE: Final = "KILLS_JOB"
"""Variable that tells the run's process what to run: a `Job` as JSON."""

OUTCOME: Final = "outcome.json"
"""File that the last asset writes into the folder of its process: the rows of the agent asset."""

SECONDS: Final = 240.0
"""How long an execution may take: far longer than it needs."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """What a trial runs.

    Attributes:
        framework: Name of the framework.
        native: Whether the agent is one of the framework's own kind; else a portable one.
        stream: Whether the model's answers are streamed.
        items: How many executions.
        external: Whether the run uses a gateway that others run, with its journal in PostgreSQL.
    """

    framework: str
    native: bool = False
    stream: bool = False
    items: int = 1
    external: bool = False

    def to_json(self) -> str:
        """Return it for the variable."""
        return json.dumps(asdict(self))

    @property
    def files(self) -> tuple[str, ...]:
        """The files of the agent's code."""
        if not self.native:
            return ("tools.py",)
        return ("n8n_agent.json",) if self.framework == "n8n" else ("tools.py", f"{self.framework}_agent.py")

    def spec(self) -> AgentSpec:
        """Return the agent and how it runs."""
        what: Mapping[str, Any] = {"portable": _portable()}
        if self.native:
            entrypoint = "n8n_agent.json" if self.framework == "n8n" else f"{self.framework}_agent:build"
            what = {"entrypoint": entrypoint, "options": {"once": sorted(ONCE)}}
        return AgentSpec(
            framework=self.framework,
            **what,
            prompt="Buy {item}.",
            inputs={"item": InputSpec(asset="items")},
            for_each=ForEachSpec(input="item", key=None, in_flight=64, on_failure="keep"),
            limits=LimitsSpec(seconds=SECONDS),
            output_schema=None if self.native else OUTPUT_SCHEMA,
            stream=self.stream,
            retries=RetrySpec(max=3, delay_seconds=0.1),
        )


def _portable() -> PortableSpec:
    tools = [ToolSpec(function=f"tools:{name}", once=name in ONCE) for name in TOOLS]
    return PortableSpec(
        instructions=INSTRUCTIONS, model_name="m", tools=tools, output_schema=OUTPUT_SCHEMA, temperature=0
    )


def buy() -> dg.JobDefinition:
    """Return the job that the variable describes."""
    described = Job(**json.loads(os.environ[VARIABLE]))

    @dg.asset
    def items() -> list[str]:
        return [marker(number) for number in range(described.items)]

    bought = agent_asset(described.spec(), asset=dg.AssetSpec(ASSET), code=AGENTS, files=described.files)

    @dg.asset
    def report(bought: list[Any]) -> None:
        part = Path(f"{OUTCOME}.part")
        part.write_text(json.dumps(bought))
        part.rename(OUTCOME)

    job = dg.define_asset_job("buy", [items, bought, report])  # pyright: ignore[reportUnknownMemberType]  # Dagster's own annotation
    definitions = dg.Definitions(
        assets=[items, bought, report],
        executor=dg.in_process_executor,
        jobs=[job],
        resources={"agent_runtimes": AgentRuntimes(processes=1)},
    )
    return definitions.resolve_job_def("buy")
