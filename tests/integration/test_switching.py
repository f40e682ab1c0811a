"""One word of a YAML file moves an agent from one framework to another, for every two of them."""

# pyright: reportUnknownMemberType=false
# Dagster leaves some of its functions without complete types.

import itertools
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, TypeAlias

import dagster as dg
import pytest

from orchestrator_runtimes.conformance.model_endpoint import ModelEndpoint
from orchestrator_runtimes.conformance.scripts import Script
from orchestrator_runtimes.profiles import installed_frameworks
from tests.integration.agent_materializations import materialize, metadata

pytestmark = pytest.mark.timeout(300)

FRAMEWORKS: Final = sorted(installed_frameworks())

YAML: Final = """\
type: orchestrator_assets.AgentComponent
attributes:
  asset: {key: guide}
  framework: FRAMEWORK
  portable:
    instructions: You help visitors of a museum.
    tools: [{function: "tools:opening_hours"}]
    output_schema:
      type: object
      properties: {open: {type: boolean}, hours: {type: string}}
      required: [open, hours]
  prompt: When is the museum open on Tuesday?
"""

PROJECT: Final = """\
[project]
name = "museum"
version = "0.1.0"

[tool.dg]
directory_type = "project"

[tool.dg.project]
root_module = "{package}"
"""

TOOLS: Final = '''\
def opening_hours(day: str) -> str:
    """Tell when the museum is open."""
    return "closed" if day == "monday" else "10 to 18"
'''

ANSWER: Final = {"open": True, "hours": "10 to 18"}


Outcome: TypeAlias = tuple[str, object, Mapping[str, Any]]
"""The YAML, the value of its asset, and the metadata of its materialization."""


@pytest.fixture(scope="module")
def outcomes(endpoint: ModelEndpoint, tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Outcome]:
    """What became of the agent in each framework."""
    return {name: _run(name, endpoint, tmp_path_factory.mktemp(name)) for name in FRAMEWORKS}


def _run(framework: str, endpoint: ModelEndpoint, folder: Path) -> Outcome:
    text, package = YAML.replace("FRAMEWORK", framework), f"museum_with_{framework}"
    agent = folder / package / "defs" / "guide"
    agent.mkdir(parents=True)
    for place in (folder / package, agent.parent):
        (place / "__init__.py").touch()
    (folder / "pyproject.toml").write_text(PROJECT.format(package=package))
    (agent / "defs.yaml").write_text(text)
    (agent / "tools.py").write_text(TOOLS)
    script = Script(tool=("opening_hours",), arguments={"day": "tuesday"}, output=ANSWER, strict=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "path", [str(folder), *sys.path])
        definitions = dg.load_from_defs_folder(path_within_project=folder / package)
        result = materialize(list(definitions.assets or []), endpoint, script)
    assert result.success
    return text, result.output_for_node("guide"), metadata(result, "guide")


@pytest.mark.parametrize(("one", "other"), [*itertools.combinations(FRAMEWORKS, 2)], ids=str)
def test_one_word_moves_an_agent(one: str, other: str, outcomes: Mapping[str, Outcome]) -> None:
    (text, value, told), (other_text, other_value, other_told) = outcomes[one], outcomes[other]
    changed = [pair for pair in zip(text.split(), other_text.split(), strict=True) if pair[0] != pair[1]]
    assert changed == [(one, other)]
    assert value == other_value == ANSWER
    for name in ("model_calls", "tool_calls"):
        assert told[name] == other_told[name] > 0
