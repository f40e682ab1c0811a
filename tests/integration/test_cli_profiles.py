"""Runtime profiles, by two teams that share one machine."""

import re
import shutil
import subprocess
import sys
import traceback
from pathlib import Path

import dagster as dg
import pytest

from orchestrator_resources.environments import EnvironmentStore
from orchestrator_resources.runtime_profiles import load_profile
from orchestrator_runtimes.profiles import installed_frameworks
from tests.integration.command_lines import offer_frameworks, refused, succeeds

PROFILE = 'framework = "agno"\nrequirements = ["roman==5.1"]\n'
INSTALL = ("orchestrator", "runtimes", "install")

PROJECT = """\
[project]
name = "team-with-profile"
version = "0.1.0"

[tool.dg]
directory_type = "project"

[tool.dg.project]
root_module = "team_with_profile"
"""
AGENT = """\
type: orchestrator_assets.AgentComponent
attributes:
  asset: {key: numeral}
  framework: agno
  profile: reading.toml
  entrypoint: agent:agent
  prompt: "Write 14 in Roman numerals."
"""

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def team(tmp_path_factory: pytest.TempPathFactory, home: Path) -> Path:
    """A project of a team whose profile is resolved and installed."""
    folder = tmp_path_factory.mktemp("first")
    (folder / "reading.toml").write_text(PROFILE)
    said = succeeds(*INSTALL, "reading.toml", folder=folder, ORCHESTRATOR_HOME=str(home))
    assert "reading: Agno is published under Apache-2.0" in said
    assert re.search(r"^reading: ready, [0-9a-f]{12}, \d+ MB$", said, re.MULTILINE)
    return folder


def pins(lock: str) -> set[str]:
    return set(re.findall(r"^[a-z0-9.-]+==[^\s;\\]+", lock, re.MULTILINE))


def test_a_profile_is_its_frameworks_lock_and_what_it_asks_for(team: Path, home: Path) -> None:
    assert sorted(path.name for path in team.iterdir()) == ["reading.lock", "reading.toml"]
    profile = load_profile(team / "reading.toml")
    assert pins(profile.lock().python) - pins(installed_frameworks()["agno"].lock().python) == {"roman==5.1"}
    assert pins(installed_frameworks()["agno"].lock().python) <= pins(profile.lock().python), (
        "the framework's pins are kept"
    )
    assert profile.lock().python.count("--hash=sha256:") > len(pins(profile.lock().python))
    environment = EnvironmentStore(home).find(profile.lock())
    assert environment is not None
    words = [str(environment.python), "-c", "import agno.agent, roman; print(roman.toRoman(14))"]
    assert subprocess.run(words, capture_output=True, text=True, check=True).stdout == "XIV\n"


def test_another_project_with_the_same_profile_shares_the_environment(
    team: Path, home: Path, tmp_path: Path
) -> None:
    (tmp_path / "other_name.toml").write_text(PROFILE + "# of another team\n")
    said = succeeds(*INSTALL, "other_name.toml", folder=tmp_path, ORCHESTRATOR_HOME=str(home))
    assert [line.split(",")[0] for line in said.splitlines()] == ["other_name: ready"], "nothing is installed"
    assert (tmp_path / "other_name.lock").read_text() == (team / "reading.lock").read_text()


def test_a_checked_out_lock_is_installed_without_resolving(team: Path, home: Path, tmp_path: Path) -> None:
    for name in ("reading.toml", "reading.lock"):
        shutil.copy(team / name, tmp_path)
    (tmp_path / "reading.lock").write_text((team / "reading.lock").read_text() + "# kept\n")
    succeeds(*INSTALL, "reading.toml", folder=tmp_path, ORCHESTRATOR_HOME=str(home))
    assert (tmp_path / "reading.lock").read_text().endswith("# kept\n")


def test_an_agent_says_what_to_run_until_its_lock_is_there_and_again_after_a_change(
    team: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "team_with_profile"
    agent = package / "defs" / "numeral"
    agent.mkdir(parents=True)
    for file in (package / "__init__.py", package / "defs" / "__init__.py"):
        file.write_text("")
    (tmp_path / "pyproject.toml").write_text(PROJECT)
    (agent / "defs.yaml").write_text(AGENT)
    (agent / "agent.py").write_text("agent = None\n")
    (agent / "reading.toml").write_text(PROFILE)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])

    def keys() -> list[dg.AssetKey]:
        definitions = dg.load_from_defs_folder(path_within_project=package)
        return [one.key for one in definitions.resolve_all_asset_specs()]

    def why() -> str:
        with pytest.raises(Exception, match="Error while building definitions for numeral") as caught:
            keys()
        return "".join(traceback.format_exception(caught.value))

    remedy = "run `orchestrator runtimes install reading.toml`"
    assert f"reading.lock is missing: {remedy}" in why()
    shutil.copy(team / "reading.lock", agent)
    assert keys() == [dg.AssetKey("numeral")]
    (agent / "reading.toml").write_text(PROFILE.replace("5.1", "5.0"))
    assert f"reading.lock is older than the profile: {remedy}" in why()


def test_the_environment_of_a_profile_is_removed_by_its_file(tmp_path: Path) -> None:
    (tmp_path / "small.toml").write_text(PROFILE.replace("agno", "fake"))
    environment = {
        "ORCHESTRATOR_HOME": str(tmp_path / "home"),
        "PYTHONPATH": offer_frameworks(
            tmp_path / "offered", fake="orchestrator_runtimes.conformance.fake:PROFILE"
        ),
    }
    remove = ("orchestrator", "runtimes", "remove", "small.toml")
    assert "small.lock is missing" in refused(*remove, folder=tmp_path, **environment)
    succeeds(*INSTALL, "small.toml", folder=tmp_path, **environment)
    (installed,) = EnvironmentStore(tmp_path / "home").installed()
    assert (
        succeeds(*remove, folder=tmp_path, **environment) == f"small.toml: removed {installed.digest[:12]}\n"
    )
    assert EnvironmentStore(tmp_path / "home").installed() == []
    assert (tmp_path / "small.lock").exists(), "the lock is the project's"


def test_requirements_that_exclude_each_other_are_refused_with_the_reason(tmp_path: Path) -> None:
    (tmp_path / "both.toml").write_text('framework = "crewai"\nrequirements = ["agentscope==2.0.10"]\n')
    said = refused(*INSTALL, "both.toml", folder=tmp_path, ORCHESTRATOR_HOME=str(tmp_path / "home"))
    assert "'both' cannot be installed together; change one of crewai==" in said
    assert "json-repair" in said, "the resolver's reason"
    assert [path.name for path in tmp_path.iterdir()] == ["both.toml"], "no lock, no environment, no remains"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (
            'framework = "agno"\nrequires = ["roman"]\n',
            "unknown key 'requires'; there are framework, requirements",
        ),
        ("framework = agno\n", "is no TOML: "),
        ('requirements = ["roman"]\n', 'names no framework: write framework = "langgraph"'),
        ('framework = "agno"\nrequirements = "roman"\n', "requirements that are no list of texts"),
        ('framework = "agno"\nrequirements = [1]\n', "requirements that are no list of texts"),
        ('framework = "agno"\nrequirements = ["roman=5"]\n', "the requirement 'roman=5', which is none"),
        ('framework = "autogen"\n', "no framework 'autogen' is installed; there are agentscope, agno"),
        ("\xff", "is no TOML"),
        (None, "does not exist"),
    ],
    ids=[
        "unknown key",
        "no TOML",
        "no framework",
        "text",
        "number",
        "requirement",
        "unknown",
        "no text",
        "no file",
    ],
)
def test_what_is_no_profile_is_refused_with_what_to_change(
    tmp_path: Path, text: str | None, why: str
) -> None:
    if text is not None:
        (tmp_path / "wrong.toml").write_bytes(text.encode("latin-1"))
    said = refused(*INSTALL, "wrong.toml", folder=tmp_path, ORCHESTRATOR_HOME=str(tmp_path / "home"))
    assert why in said
    assert not (tmp_path / "wrong.lock").exists()
