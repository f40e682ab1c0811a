"""Agents as Dagster assets."""

from orchestrator_assets.agent_assets import agent_asset
from orchestrator_assets.agent_component import AgentComponent
from orchestrator_assets.agent_specs import (
    AgentSpec,
    ForEachSpec,
    InputSpec,
    LimitsSpec,
    PortableSpec,
    ToolSpec,
)

__all__ = [
    "AgentComponent",
    "AgentSpec",
    "ForEachSpec",
    "InputSpec",
    "LimitsSpec",
    "PortableSpec",
    "ToolSpec",
    "agent_asset",
]
