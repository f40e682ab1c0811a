"""`AgentComponent`: an agent asset in YAML."""

from collections.abc import Sequence
from pathlib import Path

import dagster as dg
from dagster.components import ComponentLoadContext
from pydantic import Field

from orchestrator_assets.agent_assets import RESOURCE, agent_asset
from orchestrator_assets.agent_specs import AgentSpec, code_folder
from orchestrator_assets.scaffolding import AgentScaffolder
from orchestrator_assets.yaml_components import YamlComponent
from orchestrator_resources.agent_runtimes import AGENT_RUNTIMES


@dg.scaffold_with(AgentScaffolder)
class AgentComponent(AgentSpec, YamlComponent):
    """Runs an agent of any installed framework as an asset.

    The agent is either *native* (`entrypoint: module:attribute`, an object or a factory of the framework's own type, in
    Python files beside this YAML that import nothing of ours) or *portable* (`portable:`, instructions, model, tools
    and an output schema that every framework can build; `framework` is then a one-line choice).

    It runs one execution, or one for each item of an upstream list or table (`for_each`). The framework lives in an
    environment of its own, which is installed when it is first needed.
    """

    tags = ("agent", "llm")

    code: str = Field(default=".", description="Folder of the agent's code, relative to this file.")
    files: Sequence[str] = Field(
        default=(),
        description="Files of the code folder that are this agent's, where several agents share the folder;"
        " empty means all.",
        examples=[["agent.py", "tools.py"]],
    )
    profile: str | None = Field(
        default=None,
        description="Runtime profile, a file beside this one, for agents that need more than their framework.",
        examples=["research.toml"],
    )

    def build_defs(self, context: ComponentLoadContext) -> dg.Definitions:
        """Return the asset.

        Raises:
            ResolutionException: The folder, the files or the profile of the agent are not as the YAML says.
        """
        return dg.Definitions(assets=[self.made_in(context.path)], resources={RESOURCE: AGENT_RUNTIMES})

    def made_in(self, folder: Path) -> dg.AssetsDefinition:
        """Return the asset, with the agent's code as it lies in the folder of the YAML.

        Raises:
            ResolutionException: As `build_defs`.
        """
        with self.placing():
            code = code_folder(folder, self.code)
            profile = folder / self.profile if self.profile is not None else None
            return agent_asset(self, asset=self.asset, code=code, files=self.files, profile=profile)
