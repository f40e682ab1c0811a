"""`AgentComponent`: an agent asset in YAML."""

from collections.abc import Sequence
from typing import Annotated

import dagster as dg
from dagster.components import ComponentLoadContext
from dagster.components.resolved.core_models import ResolvedAssetSpec
from pydantic import Field

from orchestrator_assets.agent_assets import RESOURCE, agent_asset
from orchestrator_assets.agent_specs import AgentSpec, code_folder
from orchestrator_assets.scaffolding import AgentScaffolder
from orchestrator_resources.agent_runtimes import AGENT_RUNTIMES


@dg.scaffold_with(AgentScaffolder)
class AgentComponent(AgentSpec, dg.Component):
    """Runs an agent of any installed framework as an asset.

    The agent is either *native* (`entrypoint: module:attribute`, an object or a factory of the framework's own type, in
    Python files beside this YAML that import nothing of ours) or *portable* (`portable:`, instructions, model, tools and
    an output schema that every framework can build; `framework` is then a one-line choice).

    It runs one execution, or one for each item of an upstream list or table (`for_each`). The framework lives in an
    environment of its own, which is installed when it is first needed.
    """

    asset: Annotated[
        ResolvedAssetSpec, Field(description="Key, owners, description, partitions and the like.")
    ]
    code: str = Field(default=".", description="Folder of the agent's code, relative to this file.")
    files: Sequence[str] = Field(
        default=(),
        description="Files of the code folder that are this agent's, where several agents share the folder; empty means all.",
        examples=[["agent.py", "tools.py"]],
    )
    profile: str | None = Field(
        default=None,
        description="Runtime profile, a file beside this one, for agents that need more than their framework.",
        examples=["research.toml"],
    )

    def build_defs(self, context: ComponentLoadContext) -> dg.Definitions:
        """Return the asset."""
        code = code_folder(context.path, self.code)
        profile = context.path / self.profile if self.profile is not None else None
        asset = agent_asset(self, asset=self.asset, code=code, files=self.files, profile=profile)
        return dg.Definitions(assets=[asset], resources={RESOURCE: AGENT_RUNTIMES})
