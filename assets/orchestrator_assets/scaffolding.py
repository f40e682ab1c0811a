"""`dg scaffold defs orchestrator_assets.AgentComponent NAME --framework F`: a component that runs at once."""

from importlib.resources import files

from dagster.components import Scaffolder, ScaffoldRequest, scaffold_component
from pydantic import BaseModel, Field, field_validator

from orchestrator_runtimes.profiles import installed_frameworks


class AgentScaffoldParams(BaseModel):
    """Options of `dg scaffold`."""

    framework: str = Field(default="langgraph", description="Which framework the agent is written in.")

    @field_validator("framework")
    @classmethod
    def installed(cls, value: str) -> str:
        """Refuse a framework that is not installed."""
        if value not in (known := sorted(installed_frameworks())):
            raise ValueError(f"framework {value!r} is not installed; there are {', '.join(known)}")
        return value


class AgentScaffolder(Scaffolder[AgentScaffoldParams]):
    """Writes `defs.yaml` and the framework's template agent beside it."""

    @classmethod
    def get_scaffold_params(cls) -> type[AgentScaffoldParams]:
        """Return the options."""
        return AgentScaffoldParams

    def scaffold(self, request: "ScaffoldRequest[AgentScaffoldParams]") -> None:
        """Write the files."""
        profile = installed_frameworks()[request.params.framework]
        file = profile.template
        template = files(profile.package).joinpath("templates", file).read_text()
        request.target_path.mkdir(parents=True, exist_ok=True)
        (request.target_path / file).write_text(template)
        attributes = {
            "asset": {
                "key": request.target_path.name,
                "description": f"An agent written in {profile.title}.",
            },
            "framework": profile.name,
            "entrypoint": file if profile.entrypoint == "file" else "agent:agent",
            "prompt": "What time is it?",
        }
        scaffold_component(request, attributes)
