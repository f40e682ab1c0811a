"""`orchestrator conformance` and `compat`: their matrix, their last line, and their exit status."""

import json
import re
from pathlib import Path

import pytest

from orchestrator_resources.environments import EnvironmentStore
from tests.integration.command_lines import offer_frameworks, refused, run, succeeds

BOASTFUL = '''\
"""The fake framework, which also says that it resumes after a crash; the suite has no test for that.

Its environment has no MCP SDK, so it says nothing of tools.
"""

from dataclasses import replace

from orchestrator_runtimes.capabilities import YES, Capability, no
from orchestrator_runtimes.conformance.fake import PROFILE as FAKE

CLAIMS = {Capability.CRASH_RESUME: YES, Capability.TOOLS: no("not told")}
PROFILE = replace(FAKE, name="boastful", title="Boastful", capabilities={**FAKE.capabilities, **CLAIMS})
'''
OTHER_VERSION = "3.1.9"
"""Of Agno, whose suite is the fastest: older than the one that its adapter was written for."""


@pytest.fixture
def machine(tmp_path: Path) -> dict[str, str]:
    """The environment of a machine with two frameworks from plug-ins."""
    folder = tmp_path / "offered"
    path = offer_frameworks(
        folder, fake="orchestrator_runtimes.conformance.fake:PROFILE", boastful="boastful:PROFILE"
    )
    (folder / "boastful.py").write_text(BOASTFUL)
    return {"ORCHESTRATOR_HOME": str(tmp_path / "home"), "PYTHONPATH": path}


@pytest.mark.timeout(300)
def test_what_is_declared_and_not_proved_fails_and_what_is_proved_is_written_down(
    tmp_path: Path, machine: dict[str, str]
) -> None:
    succeeds("orchestrator", "runtimes", "install", "boastful", folder=tmp_path, **machine)
    matrix, page = tmp_path / "made" / "matrix.jsonl", tmp_path / "pages" / "conformance.md"
    words = ("orchestrator", "conformance", "--framework", "boastful")
    done = run(*words, "--matrix", matrix, "--page", page, folder=tmp_path, **machine)
    assert done.returncode == 1, done.stdout
    assert "boastful declares crash_resume, and no test proved it" in done.stdout.splitlines()
    counted = re.fullmatch(r"(\d+) passed, 1 failed", done.stdout.splitlines()[-1])
    assert counted is not None and int(counted[1]) > 80
    (row,) = [json.loads(line) for line in matrix.read_text().splitlines()]
    assert (row["framework"], row["version"]) == ("boastful", "1")
    assert row["capabilities"]["crash_resume"] == {"supported": True, "reason": "", "proofs": 0, "failed": 0}
    proofs = {name: cell["proofs"] for name, cell in row["capabilities"].items() if cell["supported"]}
    assert all(proofs[name] for name in proofs if name != "crash_resume"), proofs
    assert "| crash_resume | UNPROVED |" in page.read_text()


@pytest.mark.timeout(120)
def test_arguments_for_pytest_choose_tests(tmp_path: Path, machine: dict[str, str]) -> None:
    words = ["orchestrator", "conformance", "--framework", "fake", "-k", "wrong_entrypoint"]
    said = succeeds(*words, folder=tmp_path, **machine)
    assert said.splitlines()[-1] == "5 passed, 0 failed", "and what was not asked for is no failure"
    done = run(*words[:-1], "no_test_has_this_name", folder=tmp_path, **machine)
    assert (done.returncode, done.stdout.splitlines()[-1]) == (1, "0 passed, 1 failed"), (
        "nothing run is nothing proved"
    )


@pytest.mark.timeout(120)
def test_a_guest_that_does_not_start_fails(tmp_path: Path, machine: dict[str, str]) -> None:
    succeeds("orchestrator", "runtimes", "install", "boastful", folder=tmp_path, **machine)
    (environment,) = EnvironmentStore(tmp_path / "home").installed()
    environment.python.unlink()
    environment.python.symlink_to("/bin/false")
    words = ["orchestrator", "conformance", "--framework", "boastful", "-k", "cancel_of_an_unknown"]
    done = run(*words, folder=tmp_path, **machine)
    assert (done.returncode, done.stdout.splitlines()[-1]) == (1, "0 passed, 1 failed")


@pytest.mark.timeout(120)
def test_what_is_not_installed_is_named_with_what_to_run(tmp_path: Path, machine: dict[str, str]) -> None:
    words = ["orchestrator", "conformance", "--framework", "agno", "--framework", "boastful"]
    said = refused(*words, folder=tmp_path, **machine)
    assert "not installed: agno, boastful; run `orchestrator runtimes install agno && orchestrator" in said
    assert "no framework 'autogen'" in refused(
        "orchestrator", "conformance", "--framework", "autogen", folder=tmp_path, **machine
    )


@pytest.mark.timeout(600)
def test_another_version_of_a_framework_is_tried_and_leaves_nothing_behind(
    tmp_path: Path, machine: dict[str, str]
) -> None:
    said = succeeds("orchestrator", "compat", "agno", OTHER_VERSION, folder=tmp_path, **machine).splitlines()
    counted = re.fullmatch(r"(\d+) passed, 0 failed", said[-1])
    assert counted is not None and int(counted[1]) > 90
    assert f"capability         agno {OTHER_VERSION}" in said
    assert EnvironmentStore(tmp_path / "home").installed() == []


@pytest.mark.timeout(120)
def test_a_version_that_is_not_published_or_is_none_is_refused(
    tmp_path: Path, machine: dict[str, str]
) -> None:
    said = refused("orchestrator", "compat", "agno", "99.1", folder=tmp_path, **machine)
    assert "there is no version of agno[openai]==99.1" in said
    done = run("orchestrator", "compat", "agno", "newest", folder=tmp_path, **machine)
    assert done.returncode == 2 and "'newest' is none, such as 1.2.3" in done.stderr
