"""`AgentComponent`: an agent asset in YAML."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Self

import dagster as dg
from dagster.components import ComponentLoadContext
from dagster.components.resolved.core_models import ResolvedAssetSpec
from pydantic import BaseModel, Field, PrivateAttr, ValidationError

from orchestrator_assets.agent_assets import RESOURCE, agent_asset
from orchestrator_assets.agent_specs import SPECS, AgentSpec, code_folder
from orchestrator_assets.scaffolding import AgentScaffolder
from orchestrator_assets.spec_fields import WrongValue
from orchestrator_assets.yaml_places import placed, wrong_value
from orchestrator_assets.yaml_schemas import told_to_users
from orchestrator_resources.agent_runtimes import AGENT_RUNTIMES


@dg.scaffold_with(AgentScaffolder)
class AgentComponent(AgentSpec, dg.Component):
    """Runs an agent of any installed framework as an asset.

    The agent is either *native* (`entrypoint: module:attribute`, an object or a factory of the framework's own type, in
    Python files beside this YAML that import nothing of ours) or *portable* (`portable:`, instructions, model, tools
    and an output schema that every framework can build; `framework` is then a one-line choice).

    It runs one execution, or one for each item of an upstream list or table (`for_each`). The framework lives in an
    environment of its own, which is installed when it is first needed.
    """

    asset: Annotated[
        ResolvedAssetSpec, Field(description="Key, owners, description, partitions and the like.")
    ]
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

    _read_from: dg.ResolutionContext | None = PrivateAttr(default=None)

    @classmethod
    def get_model_cls(cls) -> type[BaseModel]:
        """Return what the YAML is checked against."""
        whole = ("asset", "inputs", "for_each", "limits", "budget", "retries")
        return told_to_users(cls.model(), specs=(cls, *SPECS), whole=whole)

    @classmethod
    def get_spec(cls) -> dg.ComponentTypeSpec:
        """Return what the Dagster UI tells beside the documentation."""
        return dg.ComponentTypeSpec(tags=["agent", "llm"])

    @classmethod
    def resolve_from_model(cls, context: dg.ResolutionContext, model: BaseModel) -> Self:
        """Make the component of its YAML.

        Raises:
            ResolutionException: A value is wrong; the message holds the file, the line and what to change.
        """
        try:
            made: Self = super().resolve_from_model(context, model)
        except ValidationError as error:
            raise placed(wrong_value(error), context) from error
        made._read_from = context
        return made

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
        try:
            code = code_folder(folder, self.code)
            profile = folder / self.profile if self.profile is not None else None
            return agent_asset(self, asset=self.asset, code=code, files=self.files, profile=profile)
        except WrongValue as error:
            if self._read_from is None:
                raise  # it was made in Python, where the traceback is the place
            raise placed(error, self._read_from) from error
