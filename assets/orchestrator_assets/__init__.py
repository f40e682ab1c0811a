"""Agents as Dagster assets."""

from orchestrator_assets.agent_assets import agent_asset
from orchestrator_assets.agent_component import AgentComponent
from orchestrator_assets.agent_specs import AgentSpec, PortableSpec, ToolSpec
from orchestrator_assets.approval_definitions import ApprovalsComponent, approval_decision, approval_sensor
from orchestrator_assets.execution_specs import BudgetSpec, ForEachSpec, InputSpec, LimitsSpec
from orchestrator_assets.external_assets import ExternalAssetsComponent

__all__ = [
    "AgentComponent",
    "AgentSpec",
    "ApprovalsComponent",
    "BudgetSpec",
    "ExternalAssetsComponent",
    "ForEachSpec",
    "InputSpec",
    "LimitsSpec",
    "PortableSpec",
    "ToolSpec",
    "agent_asset",
    "approval_decision",
    "approval_sensor",
]
