"""`orchestrator runtimes list`, `install`, `compare`, `remove`, by a person who has one new machine."""

import json
import re
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from orchestrator_resources.environments import EnvironmentStore
from orchestrator_resources.runtime_profiles import locked_version
from orchestrator_runtimes.conformance.fake import PROFILE as FAKE
from orchestrator_runtimes.locks import Lock
from orchestrator_runtimes.profiles import installed_frameworks
from tests.integration.command_lines import offer_frameworks, refused, succeeds

FRAMEWORKS = sorted(installed_frameworks())
FAKE_POINT = "orchestrator_runtimes.conformance.fake:PROFILE"

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with Agno installed in it."""
    folder = tmp_path_factory.mktemp("machine")
    said = succeeds(
        "orchestrator", "runtimes", "install", "agno", folder=folder, ORCHESTRATOR_HOME=str(folder)
    )
    assert re.search(r"^agno: ready, [0-9a-f]{12}, \d+ MB$", said, re.MULTILINE), said
    assert "agno: Agno is published under Apache-2.0, https://docs.agno.com" in said
    return folder


def listed(home: Path, **environment: str) -> dict[str, Any]:
    words = ("orchestrator", "runtimes", "list", "--json")
    told = json.loads(succeeds(*words, folder=home, ORCHESTRATOR_HOME=str(home), **environment))
    return {"others": told["other_environments"]} | {row["framework"]: row for row in told["frameworks"]}


def test_a_new_machine_lists_every_framework_as_not_installed(tmp_path: Path) -> None:
    said = succeeds("orchestrator", "runtimes", "list", folder=tmp_path, ORCHESTRATOR_HOME=str(tmp_path))
    head, *lines = said.splitlines()
    assert head.split() == ["framework", "version", "licence", "size", "installed", "cannot"]
    assert [line.split()[0] for line in lines] == FRAMEWORKS
    assert all(re.search(r" -  +no  ", line) for line in lines), said
    assert not any(tmp_path.iterdir()), "looking installs nothing"


def test_json_tells_versions_and_the_reason_of_each_missing_capability(machine: Path) -> None:
    told = listed(machine)
    for name, profile in installed_frameworks().items():
        row = told[name]
        assert row["version"] == locked_version(profile.lock(), profile.distribution) != ""
        assert all(reason for reason in row["missing"].values())
        assert {*row["missing"], *row["capabilities"]} == {c.value for c in profile.capabilities}
    assert told["langgraph"]["installed"] is None
    installed = told["agno"]["installed"]
    said = subprocess.run(
        [installed["python"], "-c", "import agno.agent"], capture_output=True, text=True, check=False
    )
    assert said.returncode == 0, said.stderr
    assert installed["size"] > 10 * 2**20


def test_what_is_installed_is_left_as_it_is(machine: Path) -> None:
    began = time.monotonic()
    said = succeeds(
        "orchestrator", "runtimes", "install", "agno", folder=machine, ORCHESTRATOR_HOME=str(machine)
    )
    assert [line.split(",")[0] for line in said.splitlines()] == ["agno: ready"]
    assert time.monotonic() - began < 10


def test_an_unknown_framework_is_refused_with_those_that_are_known(tmp_path: Path) -> None:
    for words in (("install", "autogen"), ("compare", "autogen", "agno")):
        said = refused("orchestrator", "runtimes", *words, folder=tmp_path, ORCHESTRATOR_HOME=str(tmp_path))
        assert "no framework 'autogen' is installed" in said
        assert all(name in said for name in FRAMEWORKS)


def test_a_home_that_cannot_be_made_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    home = str(tmp_path / "file" / "home")
    said = refused("orchestrator", "runtimes", "install", "agno", folder=tmp_path, ORCHESTRATOR_HOME=home)
    assert "Not a directory" in said and home in said


def test_frameworks_are_compared_by_what_they_declare(machine: Path) -> None:
    words = ("orchestrator", "runtimes", "compare", "agno", "langgraph")
    said = succeeds(*words, "--no-measure", folder=machine, ORCHESTRATOR_HOME=str(machine))
    table = {line[:16].strip(): line[16:].split() for line in said.splitlines()}
    assert table["licence"] == ["Apache-2.0", "MIT"]
    assert table["size"][-1] == "-", "LangGraph is not installed here"
    assert table["session"] == ["yes", "yes"] and table["crash_resume"] == ["no", "no"]
    assert "langgraph has no crash_resume: " in said
    assert "time to ready" not in said
    assert "runtimes install langgraph" in refused(*words, folder=machine, ORCHESTRATOR_HOME=str(machine))


def test_frameworks_are_compared_by_what_an_execution_costs(machine: Path, tmp_path: Path) -> None:
    environment = {
        "ORCHESTRATOR_HOME": str(machine),
        "PYTHONPATH": offer_frameworks(tmp_path / "offered", fake=FAKE_POINT),
    }
    succeeds("orchestrator", "runtimes", "install", "fake", folder=tmp_path, **environment)
    words = ("orchestrator", "runtimes", "compare", "agno", "fake")
    told = json.loads(succeeds(*words, "--json", folder=tmp_path, **environment))
    agno, fake = (row["measured"] for row in told)
    for figures in (agno, fake):
        assert 0 < figures["ready_seconds"] < 60
        assert 0 < figures["cpu_milliseconds"] < 1_000
        assert 0 < figures["milliseconds"] < 10_000
    assert agno["peak_mb"] > fake["peak_mb"] > 5, "a framework takes memory"
    assert [row["framework"] for row in told] == ["agno", "fake"]
    succeeds("orchestrator", "runtimes", "remove", "fake", folder=tmp_path, **environment)


def known_environment(home: Path, digest: str) -> Path:
    """An environment as the marker tells it, too small to be one."""
    store = EnvironmentStore(home)
    with_one = store.install(Lock(python=""), name="empty", progress=lambda _line: None)
    folder = with_one.path.with_name(digest)
    folder.mkdir()
    marker = {"lock": digest, "name": "made up", "size": 1, "seconds": 1.0}
    (folder / "orchestrator.json").write_text(json.dumps(marker))
    return folder


def test_an_environment_is_removed_by_the_name_of_its_framework(tmp_path: Path) -> None:
    environment = {
        "ORCHESTRATOR_HOME": str(tmp_path),
        "PYTHONPATH": offer_frameworks(tmp_path / "offered", fake=FAKE_POINT),
    }
    succeeds("orchestrator", "runtimes", "install", "fake", folder=tmp_path, **environment)
    installed = EnvironmentStore(tmp_path).find(FAKE.lock())
    assert installed is not None
    said = succeeds("orchestrator", "runtimes", "remove", "fake", folder=tmp_path, **environment)
    assert said == f"fake: removed {installed.digest[:12]}\n"
    assert not installed.path.exists()
    said = refused("orchestrator", "runtimes", "remove", "fake", folder=tmp_path, **environment)
    assert said == "Error: fake is not installed\n"


def test_an_environment_is_removed_by_a_digest_that_names_just_one(tmp_path: Path) -> None:
    one, other = (known_environment(tmp_path, f"abcdef{number}{'0' * 57}") for number in (1, 2))
    environment = {"ORCHESTRATOR_HOME": str(tmp_path)}
    remove = ("orchestrator", "runtimes", "remove")
    assert "names 2 environments" in refused(*remove, "abcdef", folder=tmp_path, **environment)
    assert "names no environment:" in refused(*remove, "abcde", folder=tmp_path, **environment)
    assert "names no environment:" in refused(*remove, "123456", folder=tmp_path, **environment)
    assert one.exists() and other.exists()
    assert {row["digest"][:7] for row in listed(tmp_path)["others"]} >= {"abcdef1", "abcdef2"}
    succeeds(*remove, "abcdef1", folder=tmp_path, **environment)
    assert other.exists() and not one.exists()
    (other / "orchestrator.json").unlink()
    succeeds(*remove, "abcdef2", folder=tmp_path, **environment)
    assert not other.exists(), "what a cut-off install left is removed as well"
