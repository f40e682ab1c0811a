"""Agents whose runs are ended in the middle, or cannot begin; their models are scripted."""

# pyright: reportUnknownMemberType=false
# Dagster leaves some of its arguments without complete types.

from pathlib import Path

import dagster as dg

from orchestrator_assets import AgentSpec, PortableSpec, ToolSpec, agent_asset
from orchestrator_resources.agent_runtimes import AGENT_RUNTIMES


def agent(key: str, framework: str, model: str, tool: str = "note") -> dg.AssetsDefinition:
    """Return an agent that asks its model, calls a tool, and asks again."""
    portable = PortableSpec(
        instructions="Help.",
        model_name=model,
        temperature=0,
        tools=[ToolSpec(function=f"trial_tools:{tool}")],
    )
    spec = AgentSpec(framework=framework, portable=portable, prompt="Note something.")
    return agent_asset(spec, asset=dg.AssetSpec(key), code=Path(__file__).with_name("trial_agents"))


AGENTS: dict[str, tuple[str, ...]] = {
    "quick": ("langgraph", "quick"),
    "slow": ("langgraph", "slow"),
    "slow_again": ("agno", "slow_again"),
    "filling": ("langgraph", "filling", "fill"),
}

defs = dg.Definitions(
    assets=[agent(key, *words) for key, words in AGENTS.items()],
    jobs=[
        *(dg.define_asset_job(f"run_{key}", [key]) for key in AGENTS),
        dg.define_asset_job("run_slow_again_twice", ["slow_again"], tags={"dagster/max_retries": "1"}),
    ],
    resources={"agent_runtimes": AGENT_RUNTIMES},
)
