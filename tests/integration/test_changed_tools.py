"""A run that goes on from its failure: an agent whose tool changed meanwhile gets no answer of the old one."""

import json
import os
from pathlib import Path
from typing import Any, Final

import dagster as dg
import pytest

from orchestrator_assets import PortableSpec, ToolSpec, agent_asset
from orchestrator_resources.agent_runtimes import AgentRuntimes
from orchestrator_runtimes.conformance.model_endpoint import ModelEndpoint
from orchestrator_runtimes.conformance.scripts import Fault, FaultKind, Script
from tests.integration.agent_materializations import fake_agent

pytestmark = pytest.mark.usefixtures("fake_framework")

FOLDER: Final = "CHANGED_TOOLS_FOLDER"
URL: Final = "CHANGED_TOOLS_URL"
TOOL: Final = """
def order(city: str) -> str:
    'DESCRIPTION'
    with open(FILE, 'a') as file:
        file.write('ordered ')
    return 'RESULT'
"""


def job(loads: int) -> dg.JobDefinition:
    """Return a job of an agent with one tool; Dagster reads it anew with another number."""
    del loads
    portable = PortableSpec(
        instructions="Help.", model_name="m", tools=[ToolSpec(function="tools:order", once=True)]
    )
    agent = agent_asset(
        fake_agent(portable=portable), asset=dg.AssetSpec("ordered"), code=Path(os.environ[FOLDER]) / "code"
    )
    order = dg.define_asset_job("order", [agent])  # pyright: ignore[reportUnknownMemberType]  # Dagster's own annotation
    definitions = dg.Definitions(
        assets=[agent],
        executor=dg.in_process_executor,
        jobs=[order],
        resources={"agent_runtimes": AgentRuntimes(model_url=os.environ[URL], processes=1)},
    )
    return definitions.resolve_job_def("order")


def loaded(loads: int) -> Any:
    """Return the job as Dagster loads it."""
    return dg.build_reconstructable_job(__name__, "job", (loads,))


def write_tool(folder: Path, *, description: str = "Order a map.", result: str = "old") -> None:
    told = str(folder / "told")
    text = TOOL.replace("FILE", repr(told)).replace("DESCRIPTION", description).replace("RESULT", result)
    (folder / "code").mkdir(exist_ok=True)
    (folder / "code" / "tools.py").write_text(text)


@pytest.mark.parametrize(
    ("changes", "orders", "models"),
    [({}, 1, 1), ({"result": "new"}, 2, 2), ({"description": "Order a globe."}, 2, 2)],
    ids=["unchanged", "code", "description"],
)
def test_only_an_unchanged_tool_gives_an_old_answer(
    changes: dict[str, Any],
    orders: int,
    models: int,
    tmp_path: Path,
    endpoint: ModelEndpoint,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    endpoint.reset()
    broken = Fault(kind=FaultKind.STATUS, calls=(2,), status=400)
    monkeypatch.setenv(FOLDER, str(tmp_path))
    monkeypatch.setenv(URL, endpoint.script("changed", Script(tool=("order",), faults=(broken,))))
    write_tool(tmp_path)
    with dg.DagsterInstance.local_temp(
        str(tmp_path), overrides={"telemetry": {"enabled": False}}
    ) as instance:
        first = dg.execute_job(loaded(1), instance, raise_on_error=False)
        assert not first.success and (tmp_path / "told").read_text() == "ordered "
        endpoint.script("changed", Script(tool=("order",)))
        before = endpoint.count
        write_tool(tmp_path, **changes)
        again = dg.ReexecutionOptions.from_failure(first.run_id, instance)
        assert dg.execute_job(loaded(2), instance, reexecution_options=again).success
    assert (tmp_path / "told").read_text().split() == ["ordered"] * orders
    assert endpoint.count == before + models
    body: Any = endpoint.calls[-1].body
    assert body["messages"][-1]["content"] == changes.get("result", "old")
    assert changes.get("description", "Order a map.") in json.dumps(body["tools"])
