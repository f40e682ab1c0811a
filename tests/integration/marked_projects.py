"""An agent that reads letters and marks what is personal in them and in what it makes of them; runs of it, in files."""

import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import dagster as dg
import pytest

from orchestrator_assets import AgentSpec, PortableSpec
from orchestrator_assets.execution_specs import ForEachSpec, InputSpec, RetrySpec
from orchestrator_resources.agent_runtimes import AgentRuntimes
from orchestrator_runtimes.conformance.model_endpoint import ModelEndpoint
from orchestrator_runtimes.conformance.scripts import Script
from tests.integration.planted_files import planted_in

EMAIL, PHONE, SUMMARY = "planted@person.example", "4915112345678", "planted-summary of a life"
PLANTED: Final = (EMAIL, PHONE, SUMMARY)
SCHEMA: Final = {
    "type": "object",
    "properties": {
        "summary": {"type": "string"},
        "phone": {"type": "integer"},
        "rating": {"type": "string"},
        "reply": {"type": "string"},
    },
    "required": ["summary", "phone", "rating", "reply"],
}
OUTPUT: Final = {"summary": SUMMARY, "phone": int(PHONE), "rating": "good", "reply": f"Dear {EMAIL}"}


class Memory(dg.IOManager):
    """Keeps what the source gives outside of all files."""

    def __init__(self) -> None:
        self.values = dict[Any, Any]()

    def handle_output(self, context: dg.OutputContext, obj: object) -> None:
        self.values[context.asset_key] = obj

    def load_input(self, context: dg.InputContext) -> object:
        return self.values[context.asset_key]


@dg.asset(io_manager_key="memory")
def letters() -> list[dict[str, Any]]:
    return [{"id": name, "email": EMAIL, "text": name} for name in ("one", "two")]


def reader(**changes: Any) -> AgentSpec:
    """Return an agent that reads letters, and marks what is personal in them and in what it makes of them."""
    given: dict[str, Any] = {
        "framework": "fake",
        "portable": PortableSpec(instructions="Sum up.", output_schema=SCHEMA),
        "inputs": {"letter": InputSpec(asset="letters")},
        "prompt": "{letter[text]} of {letter[email]}",
        "for_each": ForEachSpec(input="letter", key="id"),
        "retries": RetrySpec(max=0),
        "personal": ["letter.email", "summary", "phone"],
    }
    return AgentSpec(**{**given, **changes})


@dataclass
class Project:
    """Assets over an instance in files."""

    folder: Path
    endpoint: ModelEndpoint
    capture: pytest.CaptureFixture[str]
    told: str = ""

    def run(self, script: Script, *agents: Any, **options: Any) -> dg.ExecuteInProcessResult:
        home = self.folder / "instance"
        home.mkdir(exist_ok=True)
        self.endpoint.reset()
        runtimes = AgentRuntimes(model_url=self.endpoint.script("marked", script), processes=1)
        with dg.DagsterInstance.local_temp(str(home)) as instance:
            self.storage = Path(instance.storage_directory())
            result = dg.materialize(
                [letters, *agents],
                resources={"agent_runtimes": runtimes, "memory": Memory()},
                raise_on_error=False,
                instance=instance,
                **options,
            )
        self.told += "".join(self.capture.readouterr())
        return result

    def value(self, name: str) -> Any:
        return pickle.loads((self.storage / name).read_bytes())

    def found(self, *values: str) -> set[tuple[str, str]]:
        return planted_in(self.folder / "instance", values=values or PLANTED, logs=self.told)
