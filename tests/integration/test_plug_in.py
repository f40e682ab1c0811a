"""A seventh framework from outside the tree: installed as a distribution, found, provisioned, proved, run as an asset.

Its sources are in `plug_in/`; `docs/how-to/add-a-framework.md` tells how they came about, and is followed here.
"""

import re
import shlex
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

from orchestrator_resources.environments import EnvironmentStore
from orchestrator_runtimes.conformance.model_endpoint import ModelEndpoint
from orchestrator_runtimes.conformance.scripts import Script
from tests.integration.command_lines import succeeds, with_packages

SOURCES = Path(__file__).with_name("plug_in")
CHECKOUT = Path(__file__).parents[2]
PAGE = CHECKOUT / "docs" / "how-to" / "add-a-framework.md"
SHOWN = re.compile(r"<!-- from: (\S+) -->\n```\w*\n(.*?)```", re.DOTALL)
SHELL = re.compile(r"```sh\n(.*?)```", re.DOTALL)
LINES = 250

DEFINITIONS = """\
import dagster as dg
from pathlib import Path


@dg.definitions
def defs() -> dg.Definitions:
    return dg.load_from_defs_folder(path_within_project=Path(__file__).parent)
"""
PROJECT = """\
[project]
name = "team"
version = "0.1.0"

[tool.dg]
directory_type = "project"

[tool.dg.project]
root_module = "team"
"""


@dataclass(frozen=True, kw_only=True)
class PlugIn:
    """The plug-in as its author has it.

    Attributes:
        sources: A copy of its folder.
        installed: Where it is installed, beside this environment.
        output: What each command of the how-to printed, by command.
    """

    sources: Path
    installed: Path
    environment: dict[str, str]
    output: dict[str, str]


@pytest.fixture(scope="module")
def plug_in(tmp_path_factory: pytest.TempPathFactory, home: Path) -> PlugIn:
    """The plug-in after all that the how-to says was done."""
    folder = tmp_path_factory.mktemp("author")
    sources, installed = folder / "orchestrator-pydantic-ai", folder / "installed"
    shutil.copytree(SOURCES, sources, ignore=shutil.ignore_patterns("__pycache__"))
    environment = {"ORCHESTRATOR_HOME": str(home), "PYTHONPATH": with_packages(installed)}
    output: dict[str, str] = {}
    for block in SHELL.findall(PAGE.read_text()):
        for line in block.splitlines():
            words = shlex.split(line)
            if words[:3] == ["uv", "pip", "install"]:  # not into the environment that runs the tests
                words += ["--target", str(installed)]
            output[line] = succeeds(*words, folder=sources, **environment)
    return PlugIn(sources=sources, installed=installed, environment=environment, output=output)


def test_the_how_to_shows_what_is_there() -> None:
    shown = SHOWN.findall(PAGE.read_text())
    assert len(shown) > 5
    for name, text in shown:
        assert text in (SOURCES / name).read_text(), f"{name} holds no such lines:\n{text}"
    blocks = PAGE.read_text().count("```") // 2
    assert len(shown) + len(SHELL.findall(PAGE.read_text())) == blocks - 1, (
        "only the tree of files is told by itself"
    )
    assert len(PAGE.read_text().splitlines()) <= 120


def test_the_tree_of_the_how_to_is_the_plug_ins() -> None:
    tree = PAGE.read_text().split("```")[1]
    names = {
        word.strip("/,") for line in tree.splitlines()[2:] for word in line.partition("  ")[2].split()[:1]
    }
    names |= {"lock.txt"}
    package = SOURCES / "orchestrator_pydantic_ai"
    files = {path.name for path in package.iterdir() if path.name != "__pycache__"} - {"templates"}
    assert files | {"pyproject.toml", "orchestrator_pydantic_ai", "templates/agent.py"} == names


def test_a_framework_takes_fewer_lines_than_it_may() -> None:
    lines = {path.name: len(path.read_text().splitlines()) for path in SOURCES.rglob("*.py")}
    assert "adapter.py" in lines
    assert sum(lines.values()) < LINES, lines


@pytest.mark.timeout(600)
def test_it_passes_the_whole_suite_in_its_own_environment(plug_in: PlugIn, home: Path) -> None:
    said = plug_in.output["orchestrator conformance --framework pydantic-ai"].splitlines()
    counted = re.fullmatch(r"(\d+) passed, 0 failed", said[-1])
    assert counted is not None and int(counted[1]) >= 100, said[-1]
    assert "pydantic-ai 2.68.0" in "\n".join(said)
    assert not [line for line in said if "UNPROVED" in line]
    (environment,) = [one for one in EnvironmentStore(home).installed() if one.name == "pydantic-ai"]
    assert (environment.path / "lib").is_dir()
    held = {path.name for path in environment.path.glob("lib/*/site-packages/*")}
    assert "pydantic_ai" in held
    assert not [name for name in held if name.startswith(("orchestrator", "dagster"))], (
        "only what its lock holds"
    )


@pytest.mark.timeout(600)
def test_its_lock_is_what_its_requirements_resolve_to(plug_in: PlugIn) -> None:
    lock = plug_in.sources / "orchestrator_pydantic_ai" / "lock.txt"
    assert lock.read_text() == (SOURCES / "orchestrator_pydantic_ai" / "lock.txt").read_text()
    requirements = (lock.with_suffix(".in")).read_text().split()
    profile = (lock.with_name("profile.py")).read_text()
    assert all(f'"{requirement}"' in profile for requirement in requirements)


@pytest.mark.timeout(600)
def test_the_command_line_knows_it_as_any_other(plug_in: PlugIn, tmp_path: Path) -> None:
    listed = succeeds("orchestrator", "runtimes", "list", folder=tmp_path, **plug_in.environment)
    (line,) = [line for line in listed.splitlines() if line.startswith("pydantic-ai")]
    assert line.split()[1:3] == ["2.68.0", "MIT"] and " yes " in line
    without = succeeds("orchestrator", "runtimes", "list", folder=tmp_path)
    assert "pydantic-ai " not in without


@pytest.mark.timeout(600)
def test_its_types_are_checked_in_its_environment(plug_in: PlugIn, home: Path) -> None:
    (environment,) = [one for one in EnvironmentStore(home).installed() if one.name == "pydantic-ai"]
    package = plug_in.sources / "orchestrator_pydantic_ai"
    settings = f"--config-file={CHECKOUT / 'pyproject.toml'}"
    words = [
        "--follow-imports=silent",
        f"--python-executable={environment.python}",
        "--cache-dir=.mypy_cache",
    ]
    path = f"{plug_in.sources}:{CHECKOUT / 'runtimes' / 'contract'}"
    succeeds(
        "mypy",
        settings,
        *words,
        *sorted(package.glob("*.py")),
        folder=plug_in.sources,
        **{**plug_in.environment, "MYPYPATH": path},
    )


@pytest.mark.timeout(600)
def test_an_agent_of_it_is_scaffolded_and_runs_as_an_asset(
    plug_in: PlugIn, endpoint: ModelEndpoint, tmp_path: Path
) -> None:
    (tmp_path / "pyproject.toml").write_text(PROJECT)
    (tmp_path / "team" / "defs").mkdir(parents=True)
    (tmp_path / "team" / "__init__.py").write_text("")
    (tmp_path / "team" / "defs" / "__init__.py").write_text("")
    (tmp_path / "team" / "definitions.py").write_text(DEFINITIONS)
    (tmp_path / "instance").mkdir()
    (tmp_path / "instance" / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    endpoint.reset()
    environment = {
        **plug_in.environment,
        "DAGSTER_HOME": str(tmp_path / "instance"),
        "ORCHESTRATOR_MODEL_URL": endpoint.script("plug-in", Script(text="It is noon.")),
    }
    words = [
        "dg",
        "scaffold",
        "defs",
        "orchestrator_assets.AgentComponent",
        "clock",
        "--framework",
        "pydantic-ai",
    ]
    succeeds(*words, folder=tmp_path, **environment)
    assert "from pydantic_ai import Agent" in (tmp_path / "team" / "defs" / "clock" / "agent.py").read_text()
    succeeds("dg", "launch", "--assets", "clock", folder=tmp_path, **environment)
    assert endpoint.count == 2, "the template's tool was called between two answers"
