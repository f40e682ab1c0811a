"""The same reviews by n8n: a workflow that was drawn in its editor, and the portable reviewer. Assets in Python."""

from pathlib import Path

import dagster as dg

from dependency_review.defs.reviews.portable_reviewer import portable_reviewer
from dependency_review.frameworks import WITH_N8N
from orchestrator_assets import AgentSpec, ForEachSpec, InputSpec, LimitsSpec, agent_asset

HERE = Path(__file__).parent
INPUTS = {"distribution": InputSpec(asset="distributions")}
FOR_EACH = ForEachSpec(input="distribution", key="name", in_flight=4, on_failure="keep")
LIMITS = LimitsSpec(steps=6, tool_calls=6, seconds=120)


def reviewers() -> list[dg.AssetsDefinition]:
    """Return both reviewers."""
    workflow = AgentSpec(
        framework="n8n", entrypoint="reviewer.json", inputs=INPUTS, for_each=FOR_EACH, limits=LIMITS
    )
    portable = AgentSpec(
        framework="n8n",
        portable=portable_reviewer(),
        inputs=INPUTS,
        prompt="Read the licence of {distribution[name]}.",
        for_each=FOR_EACH,
        limits=LIMITS,
    )
    return [
        agent_asset(
            workflow,
            asset=dg.AssetSpec(
                ["reviews", "native", "n8n"], group_name="native", description="A reviewer drawn in n8n."
            ),
            code=HERE,
            files=["reviewer.json"],
        ),
        agent_asset(
            portable,
            asset=dg.AssetSpec(
                ["reviews", "portable", "n8n"],
                group_name="portable",
                description="The portable reviewer, run by n8n.",
            ),
            code=HERE.parent / "reviews",
            files=["facts.py"],
        ),
    ]


@dg.definitions
def n8n_reviews() -> dg.Definitions:
    """Offer them where they are asked for."""
    return dg.Definitions(assets=reviewers() if WITH_N8N else [])
