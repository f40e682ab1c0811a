import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from orchestrator_defs.cli import main
from orchestrator_runtimes.profiles import installed_frameworks


def run(*words: str) -> tuple[int, str]:
    done = CliRunner().invoke(main, ["images", *words])
    return done.exit_code, done.output


@pytest.fixture(autouse=True)
def _no_builder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))


def test_the_list_needs_no_builder_and_names_the_environments() -> None:
    status, said = run("list", "--repository", "registry.example/team", "--json")
    assert status == 0, said
    rows = {row["name"]: row for row in json.loads(said)}
    assert rows.keys() == {"dagster", "web", "gateway", *installed_frameworks()}
    assert rows["agno"]["image"].startswith("registry.example/team/orchestrator-agno:")
    assert rows["agno"]["size"] is None and len(rows["agno"]["environment"]) == 64
    status, said = run("list")
    assert status == 0 and "localhost/orchestrator-dagster:" in said


def test_without_a_builder_nothing_is_built() -> None:
    status, said = run("build", "agno")
    assert status == 1 and said.startswith("Error: nothing here builds images: docker is not in PATH")
    status, said = run("list", "--builder", "docker")
    assert status == 1 and "images cannot be built with docker: it is not in PATH" in said


def test_what_is_no_name_is_refused() -> None:
    status, said = run("list", "autogen")
    assert status == 1 and "no framework 'autogen' is installed; there are agentscope, " in said


def test_a_push_says_where_to_and_what_its_licence_asks_for(tmp_path: Path) -> None:
    (tmp_path / "buildah").write_text("#!/bin/sh\n/bin/echo 1 MB\n")
    (tmp_path / "buildah").chmod(0o755)
    status, said = run("push", "agno")
    assert status == 2 and "say where to: --repository registry.example/team" in said
    where = ("--repository", "registry.example/team")
    status, said = run("push", "n8n", *where)
    assert status == 1 and "Sustainable Use License" in said and "--accept-licence n8n" in said
    status, said = run("push", "n8n", *where, "--accept-licence", "n8n")
    assert status == 0 and "n8n: pushed registry.example/team/orchestrator-n8n:" in said
    status, said = run("push", *where)
    assert status == 0 and said.count(": pushed ") == 8 and "n8n" not in said
    status, said = run("build", "n8n")
    assert status == 0 and "Sustainable Use License" in said
