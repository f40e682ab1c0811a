"""A tenant's own definitions, whose names are the tenant's."""

# pyright: reportUnknownMemberType=false
# Dagster leaves some of its arguments without complete types.

import os

import dagster as dg

from orchestrator_assets import AgentSpec, PortableSpec, agent_asset
from orchestrator_resources.agent_runtimes import AGENT_RUNTIMES
from orchestrator_tenancy.custom_locations import tenant_definitions

_TENANT = os.environ["ORCHESTRATOR_TENANT"]
_AGENT = agent_asset(
    AgentSpec(
        framework="agno",
        portable=PortableSpec(instructions="Help.", model_name="quick", temperature=0),
        prompt="Say hello.",
    ),
    asset=dg.AssetSpec([_TENANT, "quick"]),
)

defs = tenant_definitions(
    dg.Definitions(
        assets=[_AGENT],
        jobs=[dg.define_asset_job(f"{_TENANT}__run_quick", [_AGENT])],
        resources={"agent_runtimes": AGENT_RUNTIMES},
    )
)
