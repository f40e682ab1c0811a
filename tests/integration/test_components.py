"""`AgentComponent` as its users meet it: scaffolded, listed, checked and launched with `dg` in a project of its own."""

import itertools
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from dagster_dg_cli.cli import create_dg_cli

from orchestrator_runtimes.conformance.model_endpoint import ModelEndpoint
from orchestrator_runtimes.conformance.scripts import Script

pytestmark = pytest.mark.filterwarnings(
    # `dg` in this process
    "ignore:.*is deprecated and will be removed in Click 9.0:DeprecationWarning",
    "ignore:Error loading repository location:UserWarning",
)

NUMBERS = itertools.count()
DG = create_dg_cli()  # type: ignore[no-untyped-call]  # Dagster left it without annotations

PYPROJECT = """
[project]
name = "{name}"
version = "0.1.0"
requires-python = ">=3.11,<3.14"
dependencies = ["agent-orchestrator"]

[tool.dg]
directory_type = "project"

[tool.dg.project]
root_module = "{name}"
code_location_name = "{name}"
defs_module = "{name}.defs"
"""
DEFINITIONS = """
from pathlib import Path
import dagster as dg

@dg.definitions
def defs() -> dg.Definitions:
    return dg.load_from_defs_folder(path_within_project=Path(__file__).parent)
"""


class Project:
    """A project as `create-dagster` makes it; each has a module of its own, since all are loaded into one process."""

    def __init__(self, folder: Path) -> None:
        self.name = f"team_{next(NUMBERS)}"
        self.folder = folder / self.name
        self.defs = self.folder / self.name / "defs"
        self.defs.mkdir(parents=True)
        (self.folder / "pyproject.toml").write_text(PYPROJECT.format(name=self.name))
        (self.folder / self.name / "__init__.py").write_text("")
        (self.folder / self.name / "definitions.py").write_text(DEFINITIONS)

    def component(self, text: str, *, name: str = "one") -> Path:
        file = self.defs / name / "defs.yaml"
        file.parent.mkdir()
        file.write_text(text)
        (file.parent / "agent.py").write_text("agent = 1\n")
        return file

    def here(self, *words: str) -> tuple[int, str]:
        """Run `dg` in this process, which is ten times faster than in another."""
        before = Path.cwd()
        os.chdir(self.folder)
        try:
            done = CliRunner().invoke(DG, words)
        finally:
            os.chdir(before)
        assert done.exception is None or isinstance(done.exception, SystemExit), repr(done.exception)
        return done.exit_code, done.output

    def apart(self, *words: str, url: str = "") -> str:
        """Run `dg` as its users do, and return what it said."""
        environment = {
            **os.environ,
            "DAGSTER_HOME": str(self.folder / "instance"),
            "ORCHESTRATOR_MODEL_URL": url,
            "COLUMNS": "200",
        }
        dg = str(Path(sys.executable).with_name("dg"))
        done = subprocess.run(
            [dg, *words],
            cwd=self.folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=110,
            check=False,
        )
        assert done.returncode == 0, done.stdout[-3_000:] + done.stderr[-3_000:]
        return done.stdout + done.stderr


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Project]:
    made = Project(tmp_path)
    (made.folder / "instance").mkdir()
    (made.folder / "instance" / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    monkeypatch.setenv("DAGSTER_DISABLE_TELEMETRY", "1")
    monkeypatch.setenv("DAGSTER_HOME", str(made.folder / "instance"))
    modules, path = set(sys.modules), list(sys.path)
    yield made
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        if name.partition(".")[0] == made.name:
            del sys.modules[name]


SCAFFOLD = ("scaffold", "defs", "orchestrator_assets.AgentComponent", "clock", "--framework")


def test_a_scaffolded_agent_is_valid_as_its_users_see_it(project: Project) -> None:
    project.apart(*SCAFFOLD, "langgraph")
    assert "All component YAML validated" in project.apart("check", "yaml")
    assert "All definitions loaded successfully" in project.apart("check", "defs")
    said = project.apart("list", "defs", "--json")
    (asset,) = json.loads(said[said.index("{") :])["assets"]
    assert asset["asset_key"] == "clock"
    assert asset["kinds"] == ["agent", "langgraph"]


@pytest.mark.parametrize("framework", ["langgraph", "agno", "n8n"])
def test_a_scaffolded_agent_runs_at_once(project: Project, endpoint: ModelEndpoint, framework: str) -> None:
    url = endpoint.script(f"scaffold-{framework}", Script(text="It is noon."))
    endpoint.reset()
    assert project.here(*SCAFFOLD, framework)[0] == 0
    assert project.here("check", "yaml")[0] == 0
    said = project.apart("launch", "--assets", "clock", url=url)
    assert "RUN_SUCCESS" in said
    assert endpoint.count == 2, "the template's agent calls its tool, then answers"


def test_scaffolding_for_a_framework_that_is_not_installed_names_those_that_are(project: Project) -> None:
    status, said = project.here(
        "scaffold", "defs", "orchestrator_assets.AgentComponent", "clock", "--framework", "autogen"
    )
    assert status != 0
    assert "framework 'autogen' is not installed; there are agentscope, agno" in said
    assert not (project.defs / "clock" / "defs.yaml").exists()


def test_the_component_is_listed_with_documentation_and_examples(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")  # a line for each component
    assert "Runs an agent of any installed" in project.here("list", "components")[1]
    component = "orchestrator_assets.AgentComponent"
    _, said = project.here("utils", "inspect-component", component, "--defs-yaml-json-schema")
    schema = json.loads(said)["properties"]["attributes"]
    definitions = {"AgentComponentModel": schema, **schema["$defs"]}
    ours = {name: node["properties"] for name, node in definitions.items() if name in OURS}
    assert len(ours) == len(OURS)
    assert [
        (kind, name)
        for kind, fields in ours.items()
        for name, field in fields.items()
        if not field["description"]
    ] == []
    examples = {name for name, field in ours["AgentComponentModel"].items() if field.get("examples")}
    assert {
        "framework",
        "entrypoint",
        "inputs",
        "prompt",
        "for_each",
        "session",
        "files",
        "profile",
    } <= examples
    _, said = project.here("utils", "inspect-component", component, "--defs-yaml-schema")
    assert "steps: <integer>  # Optional: Model calls." in said


OURS = {f"{name}Model" for name in ("AgentComponent", "PortableSpec", "ToolSpec", "McpSpec", "InputSpec")} | {
    f"{name}Model" for name in ("ForEachSpec", "LimitsSpec", "BudgetSpec", "GpuSpec", "RetrySpec")
}
GOOD = {
    "asset": "{key: x}",
    "framework": "langgraph",
    "entrypoint": "agent:agent",
    "inputs": "{docs: {value: [1]}}",
}
PORTABLE = {"entrypoint": None}

AT_CHECK_YAML = [
    ({"framework": "autogen"}, 4, "'autogen' is not one of ['agentscope', 'agno'"),
    ({"entrypoint": "agent.agent"}, 5, "'agent.agent' does not match"),
    ({"prompts": "hi"}, 7, "'prompts' was unexpected"),
    ({"prompt": "[hi]"}, 7, "['hi'] is not of type 'string'"),
    ({"stream": "often"}, 7, "'often' is not of type 'boolean'"),
    ({"gpu": "{count: 0}"}, 7, "gpu.count 0 is less than or equal to the minimum of 0"),
    ({"gpu": "{typ: H100}"}, 7, "'typ' was unexpected"),
    ({"limits": "{steps: -1}"}, 7, "limits.steps -1 is less than or equal to the minimum of 0"),
    ({"limits": "{tool_calls: 0}"}, 7, "limits.tool_calls 0 is less than or equal to the minimum of 0"),
    ({"limits": "{seconds: 0}"}, 7, "limits.seconds 0 is less than or equal to the minimum of 0"),
    ({"limits": "{tokens: -4}"}, 7, "limits.tokens -4 is less than or equal to the minimum of 0"),
    ({"limits": "{output_bytes: lots}"}, 7, "limits.output_bytes 'lots' is not of type 'integer'"),
    ({"limits": "{steps: 1.5}"}, 7, "limits.steps 1.5 is not of type 'integer'"),
    ({"limits": "{stepss: 1}"}, 7, "'stepss' was unexpected"),
    ({"budget": "{cost_usd: -1}"}, 7, "budget.cost_usd -1 is less than or equal to the minimum of 0"),
    ({"budget": "{cost: 1}"}, 7, "'cost' was unexpected"),
    ({"retries": "{max: -1}"}, 7, "retries.max -1 is less than the minimum of 0"),
    ({"retries": "{max: often}"}, 7, "retries.max 'often' is not of type 'integer'"),
    ({"retries": "{delay_seconds: -1}"}, 7, "retries.delay_seconds -1 is less than the minimum of 0"),
    ({"limits": "fast"}, 7, "limits 'fast' is not of type 'object'"),
    ({"inputs": "{docs: hello}"}, 6, "inputs.docs 'hello' is not of type 'object'"),
    ({"inputs": "{docs: {val: 1}}"}, 6, "'val' was unexpected"),
    (
        {"for_each": "{input: docs, on_failure: ignore}"},
        7,
        "'ignore' is not one of ['fail', 'keep', 'threshold']",
    ),
    ({"for_each": "{input: docs, in_flight: 0}"}, 7, "for_each.in_flight 0 is less than or equal"),
    (
        {"for_each": "{input: docs, on_failure: threshold, threshold: 1.5}"},
        7,
        "1.5 is greater than the maximum of 1",
    ),
    ({"for_each": "{key: docs}"}, 7, "'input' is a required property"),
    ({**PORTABLE, "portable": "{instructions: x, model: y}"}, 6, "'model' was unexpected"),
    ({**PORTABLE, "portable": "{model_name: y}"}, 6, "'instructions' is a required property"),
    ({**PORTABLE, "portable": "{instructions: x, temperature: 3}"}, 6, "3 is greater than the maximum of 2"),
    ({**PORTABLE, "portable": "{instructions: x, tools: [{function: ab}]}"}, 6, "'ab' does not match"),
    ({"asset": "{description: x}"}, 3, "'key' is a required property"),
    ({"asset": "{key: x, group: y}"}, 3, "'group' was unexpected"),
]
AT_CHECK_DEFS = [
    ({"portable": "{instructions: x}"}, 5, "give either entrypoint (a native agent) or portable"),
    ({"entrypoint": None}, 4, "give either entrypoint (a native agent) or portable"),
    ({"inputs": "{docs: {value: 1, asset: a}}"}, 6, "give exactly one of value, asset and partition_key"),
    ({"inputs": "{docs: {}}"}, 6, "give exactly one of value, asset and partition_key"),
    ({"inputs": "{docs: {partition_key: true}}"}, 6, "the asset has no partitions: give it a partitions_def"),
    ({"for_each": "{input: doc}"}, 7, "names 'doc', which is not among the inputs; there are docs"),
    ({"for_each": "{input: docs, on_failure: threshold}"}, 7, "give threshold, such as 0.1"),
    ({"for_each": "{input: docs, threshold: 0.5}"}, 7, "on_failure: threshold together or neither"),
    ({"options": "fast"}, 7, "attributes.options: Input should be a valid dictionary"),
    (
        {"output_schema": "{type: object, patternProperties: {}}"},
        7,
        "uses 'patternProperties', which not every",
    ),
    ({"output_schema": "{type: struct}"}, 7, "uses 'struct', which not every"),
    (
        {**PORTABLE, "portable": "{instructions: x, output_schema: {oneOf: []}}"},
        6,
        "uses 'oneOf', which not every",
    ),
    (
        {**PORTABLE, "portable": "{instructions: x, tools: [{function: a:b, mcp: {url: u}}]}"},
        6,
        "give either function or mcp",
    ),
    (
        {**PORTABLE, "portable": "{instructions: x, tools: [{mcp: {include: [a]}}]}"},
        6,
        "give either command or url",
    ),
    (
        {**PORTABLE, "portable": "{instructions: x, tools: [{function: a:b}]}"},
        6,
        "has no module 'a': 'a.py' is missing",
    ),
    (
        {"entrypoint": "workflow.json"},
        5,
        "must be module:attribute, such as agent:build, got 'workflow.json'",
    ),
    ({"framework": "n8n"}, 5, "must be a file, such as workflow.json, got 'agent:agent'"),
    ({"framework": "n8n", "entrypoint": "gone.json"}, 5, "the agent's code has no file 'gone.json'"),
    ({"entrypoint": "agentt:agent"}, 5, "has no module 'agentt': 'agentt.py' is missing"),
    ({"entrypoint": "sub.agent:agent"}, 5, "has no module 'sub.agent': 'sub/agent.py' is missing"),
    ({"code": "nowhere"}, 7, "attributes.code: 'nowhere' must be a folder that exists"),
    ({"code": "../.."}, 7, "attributes.code: '../..' must be a folder that exists"),
    ({"files": "[nope.py]"}, 7, "has no file 'nope.py'"),
    ({"files": "[other.py]"}, 5, "the module 'agent' is not among the agent's files: add 'agent.py'"),
    ({"profile": "nope.toml"}, 7, "nope.toml' does not exist"),
    ({"prompt": "'see {dcs}'"}, 7, "names {dcs}, which nothing fills in; there is {docs}"),
    ({"prompt": "'see {docs:{width}}'"}, 7, "names {width}, which nothing fills in"),
    ({"prompt": "'see {}'"}, 7, "names {}, which nothing fills in"),
    (
        {"prompt": "'see {docs'"},
        7,
        "cannot be filled in (expected '}' before end of string); write {{ and }}",
    ),
    (
        {"session": "'{tenant}'"},
        7,
        "names {tenant}, which nothing fills in; there is {execution}, {partition_key}",
    ),
    ({"session": "'{key}'"}, 7, "names {key}, which nothing fills in; there is {execution}, {partition_key}"),
    ({"session": "'{partition_key}'"}, 7, "the asset has no partitions: give it a partitions_def"),
]


def yaml_of(changes: dict[str, Any]) -> str:
    attributes = "".join(
        f"  {name}: {value}\n" for name, value in {**GOOD, **changes}.items() if value is not None
    )
    return f"type: orchestrator_assets.AgentComponent\nattributes:\n{attributes}"


def shown(said: str) -> str:
    return re.sub(r"\x1b\[[0-9;]*m", "", said)


@pytest.mark.parametrize(("changes", "line", "why"), AT_CHECK_YAML, ids=lambda value: str(value)[:60])
def test_a_wrong_value_is_refused_by_both_checks(
    project: Project, changes: dict[str, Any], line: int, why: str
) -> None:
    file = project.component(yaml_of(changes))
    status, said = project.here("check", "yaml")
    assert status == 1
    assert f"{file}:{line} - " in shown(said)
    assert why in shown(said)
    status, said = project.here("check", "defs", "--no-check-yaml")
    assert status == 1, "the checks of the YAML can be switched off, those of the definitions cannot"
    assert f"{file}:{line}" in shown(said)


@pytest.mark.parametrize(("changes", "line", "why"), AT_CHECK_DEFS, ids=lambda value: str(value)[:60])
def test_what_only_the_whole_definition_shows_is_refused_with_its_place(
    project: Project, changes: dict[str, Any], line: int, why: str
) -> None:
    file = project.component(yaml_of(changes))
    (file.parent / "other.py").write_text("")
    status, said = project.here("check", "defs")
    assert status == 1
    assert f"{file}:{line} - " in shown(said)
    assert why in shown(said)


def test_the_good_ones_pass(project: Project) -> None:
    """What the tables change is what is wrong with them."""
    project.component(yaml_of({}))
    changes = {
        "asset": "{key: y, partitions_def: {type: static, partition_keys: [a, b]}}",
        "inputs": "{docs: {value: [1]}, day: {partition_key: true}}",
        "prompt": "'see {docs} of {day:>3} in {{braces}}'",
        "session": "'{partition_key}-{key}'",
        "for_each": "{input: docs, on_failure: threshold, threshold: 0.5}",
        "files": "[agent.py]",
        "output_schema": "{type: object}",
        "limits": "{steps: 3, tokens: null, seconds: 1.5}",
    }
    project.component(yaml_of(changes), name="two")
    assert project.here("check", "yaml")[0] == 0
    status, said = project.here("check", "defs")
    assert status == 0, said
