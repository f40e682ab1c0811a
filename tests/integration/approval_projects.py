"""A Dagster instance whose agents ask people, and everything that happens between question and answer."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import dagster as dg
from click.testing import CliRunner

from orchestrator_assets import approval_sensor
from orchestrator_defs.cli import main
from orchestrator_resources.agent_runtimes import AgentRuntimes
from orchestrator_resources.approvals import Approvals
from orchestrator_resources.instance_state import state_folder, state_url
from orchestrator_resources.run_state import RunState
from orchestrator_runtimes.conformance.model_endpoint import ModelEndpoint
from orchestrator_runtimes.conformance.scripts import Script

TOOLS: Final = """
def told(what):
    with open(FILE, 'a') as file:
        file.write(what + ' ')

def weather(city: str) -> str:
    'Tell the weather.'
    told('weather')
    return f'sunny in {city}'

def order(city: str) -> str:
    'Order a map.'
    told('order')
    return f'ordered for {city}'
"""


class Project:
    """Assets over an instance of their own; runs in this process, decisions by the command line."""

    def __init__(self, folder: Path, endpoint: ModelEndpoint, script: Script) -> None:
        self.folder = folder
        self.endpoint = endpoint
        self.code = folder / "code"
        self.code.mkdir(parents=True)
        (self.code / "tools.py").write_text(f"FILE = {str(folder / 'told')!r}\n{TOOLS}")
        self.home = folder / "instance"
        self.home.mkdir()
        self.instance = dg.DagsterInstance.local_temp(str(self.home))
        endpoint.reset()
        url = endpoint.script(folder.name, script)
        self.runtimes = AgentRuntimes(model_url=url, processes=1)
        self.assets: Sequence[dg.AssetsDefinition] = ()
        self.state = RunState(state_folder(self.instance), state_url())

    @property
    def tools(self) -> list[str]:
        """What the tools did, in any order."""
        file = self.folder / "told"
        return sorted(file.read_text().split()) if file.exists() else []

    @property
    def approvals(self) -> Approvals:
        return self.state.approvals

    def launch(self, **options: Any) -> dg.ExecuteInProcessResult:
        """Materialize every asset, or a selection."""
        result = dg.materialize(
            self.assets,
            instance=self.instance,
            resources={"agent_runtimes": self.runtimes},
            raise_on_error=False,
            **options,
        )
        teardown = [e.message or "" for e in result.all_events if (e.message or "").startswith("Teardown")]
        assert not [message for message in teardown if "failed" in message]
        return result

    def orchestrator(self, *words: str, status: int = 0) -> str:
        """Run a command and return what it printed."""
        done = CliRunner(env={"DAGSTER_HOME": str(self.home)}).invoke(main, ["approvals", *words])
        assert done.exit_code == status, done.output
        return done.output

    def waiting(self) -> list[str]:
        """Return the ids of what waits for a decision."""
        return [request.id for request in self.approvals.list(waiting=True)]

    def tick(self) -> list[dg.RunRequest]:
        """Let the sensor look once."""
        definitions = dg.Definitions(assets=self.assets, resources={"agent_runtimes": self.runtimes})
        context = dg.build_sensor_context(instance=self.instance, definitions=definitions)
        return list(approval_sensor().evaluate_tick(context).run_requests or [])

    def resume(self) -> dg.ExecuteInProcessResult:
        """Run what the sensor asks for, which must be one run."""
        (request,) = self.tick()
        return self.launch(
            selection=list(request.asset_selection or ()),
            run_config=request.run_config,
            tags=request.tags,
            partition_key=request.partition_key,
        )


def made(result: dg.ExecuteInProcessResult) -> list[str]:
    """Return the assets that a run made."""
    return sorted(
        e.asset_key.to_user_string() for e in result.get_asset_materialization_events() if e.asset_key
    )


def observed(result: dg.ExecuteInProcessResult) -> dict[str, Any]:
    """Return the metadata of the one observation of a run."""
    (event,) = result.get_asset_observation_events()
    metadata = event.asset_observation_data.asset_observation.metadata
    return {name: getattr(value, "value", value) for name, value in metadata.items()}
