"""What documents show is true: files are checked and run, commands and links exist."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest

from orchestrator_defs.cli import main
from orchestrator_runtimes.conformance.model_endpoint import ModelEndpoint
from orchestrator_runtimes.conformance.scripts import Script
from orchestrator_tools.sources import repository_files
from tests.integration.how_tos import CHECKOUT, HOW_TO, files_of, write_project

PAGES = sorted(path for path in repository_files() if path.suffix == ".md")
SHELL = re.compile(r"```sh\n(.*?)```", re.DOTALL)
COMMAND = re.compile(r"(?:^|`)orchestrator ([a-z -]+?)(?= [A-Z<|\[-]|`|$| [a-z/]+\.toml)", re.MULTILINE)
SECONDS = 180


def commands_of(page: Path) -> list[list[str]]:
    blocks = SHELL.findall(page.read_text())
    return [shlex.split(line) for block in blocks for line in block.splitlines() if line.strip()]


def run(words: list[str], folder: Path, url: str) -> str:
    binaries = Path(sys.executable).parent
    environment = {
        **os.environ,
        "PATH": f"{binaries}:{os.environ['PATH']}",
        "DAGSTER_HOME": str(folder / "instance"),
        "ORCHESTRATOR_MODEL_URL": url,
    }
    done = subprocess.run(
        words, cwd=folder, env=environment, capture_output=True, text=True, timeout=SECONDS, check=False
    )
    assert done.returncode == 0, f"{shlex.join(words)}\n{done.stdout[-3_000:]}\n{done.stderr[-3_000:]}"
    return done.stdout + done.stderr


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    "page", [page for page in sorted(HOW_TO.glob("*.md")) if files_of(page)], ids=lambda p: p.stem
)
def test_the_project_of_a_how_to_is_checked_and_runs(
    page: Path, tmp_path: Path, endpoint: ModelEndpoint
) -> None:
    write_project(tmp_path, page.stem)
    (tmp_path / "instance").mkdir()
    (tmp_path / "instance" / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    endpoint.reset()
    url = endpoint.script(page.stem, Script(arguments={"number": 14}))
    launched = 0
    for words in commands_of(page):
        if words[0] in ("dg", "orchestrator"):
            run(words, tmp_path, url)
            launched += words[:2] == ["dg", "launch"]
    run(["dg", "check", "defs"], tmp_path, url)
    assert launched
    assert endpoint.count >= launched, "each launch asks the model"


def test_make_targets_and_commands_that_are_named_exist() -> None:
    targets = set(re.findall(r"^([a-z0-9-]+):", (CHECKOUT / "Makefile").read_text(), re.MULTILINE))
    named = 0
    for page in PAGES:
        for target in re.findall(r"(?:^|`|&& )make ([a-z0-9-]+)", page.read_text(), re.MULTILINE):
            assert target in targets, f"{page.name} names `make {target}`"
            named += 1
        for words in COMMAND.findall(page.read_text()):
            _find(words.split(), page)
            named += 1
    assert named > 10


def _find(words: list[str], page: Path) -> None:
    command: click.Command = main
    for word in words:
        if not isinstance(command, click.Group):
            return  # the rest are arguments
        assert word in command.commands, f"{page.name} names `orchestrator {' '.join(words)}`"
        command = command.commands[word]


def test_links_between_documents_lead_somewhere() -> None:
    for page in PAGES:
        for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text()):
            assert (page.parent / link).exists(), f"{page.relative_to(CHECKOUT)} links to {link}"


def test_every_room_has_a_readme_and_a_line_in_the_architecture() -> None:
    text = (CHECKOUT / "docs" / "architecture.md").read_text()
    for room in ("orchestrator_defs", "assets", "resources", "runtimes/contract"):
        assert f"`{room}/`" in text
    for folder in CHECKOUT.iterdir():
        if folder.is_dir() and any(folder.rglob("*.py")) and not folder.name.startswith((".", "var")):
            assert (folder / "README.md").exists(), f"{folder.name} has no README.md"
