"""Images of teams' projects, by a builder that writes down what it gets."""

import json
import sys
from pathlib import Path

import pytest

from orchestrator_cluster.images.builders import Builder
from orchestrator_cluster.images.location_images import location_image
from orchestrator_cluster.images.wheels import ImageError

PROGRAM = """\
#!{python}
import json, pathlib, sys
folder = pathlib.Path(__file__).parent
verb, words = sys.argv[1], sys.argv[2:]
files = {{}}
if verb == "build":
    (folder / "built").write_text("")
    context = pathlib.Path(words[-1])
    files = {{str(path.relative_to(context)): path.read_text() for path in context.rglob("*") if path.is_file()}}
with open(folder / "calls.jsonl", "a") as calls:
    calls.write(json.dumps([verb, words, files]) + "\\n")
if verb == "images" and (folder / "built").exists():
    print("40 MB")
"""
WHERE = "registry.example/acme/agents"
BASE = "registry.example/orchestrator-dagster:1"


class Fixture:
    def __init__(self, folder: Path) -> None:
        self.project, self._tools = folder / "project", folder / "tools"
        self.project.mkdir()
        self._tools.mkdir()
        program = self._tools / "buildah"
        program.write_text(PROGRAM.format(python=sys.executable))
        program.chmod(0o755)
        self.builder = Builder(name="buildah", program=str(program))

    def write(self, name: str, text: str = "x = 1\n") -> None:
        file = self.project / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def image(self, base: str | None = BASE) -> str:
        return location_image(self.project, WHERE + "/", base, self.builder, lambda _line: None)

    def calls(self, verb: str) -> list[tuple[list[str], dict[str, str]]]:
        lines = (self._tools / "calls.jsonl").read_text().splitlines()
        return [(words, files) for name, words, files in map(json.loads, lines) if name == verb]


@pytest.fixture
def team(tmp_path: Path) -> Fixture:
    return Fixture(tmp_path)


def test_a_project_is_copied_onto_the_base_without_what_is_no_code(team: Fixture) -> None:
    for name in (
        "agents.py",
        "more/tools.py",
        "more/var/prompt.txt",
        ".git/HEAD",
        ".venv/a.py",
        "more/__pycache__/b.pyc",
        ".env",
        "more/.env.local",
        ".netrc",
    ):
        team.write(name)
    image = team.image()
    ((words, files),) = team.calls("build")
    assert f"--build-arg=BASE={BASE}" in words and f"--tag={image}" in words
    assert files.keys() == {
        "Dockerfile",
        "project/agents.py",
        "project/more/tools.py",
        "project/more/var/prompt.txt",
    }
    assert files["Dockerfile"].startswith("ARG BASE\nFROM ${BASE}\n")
    assert [words for words, _ in team.calls("push")] == [[image]]
    assert image.startswith(f"{WHERE}:")


def test_what_is_built_is_only_pushed_again(team: Fixture) -> None:
    team.write("agents.py")
    assert team.image() == team.image()
    assert len(team.calls("build")) == 1 and len(team.calls("push")) == 2


def test_the_tag_stands_for_files_and_base(team: Fixture) -> None:
    team.write("agents.py")
    seen = {team.image(), team.image("other:1")}
    team.write("agents.py", "x = 2\n")
    seen.add(team.image())
    team.write("more.py", "")
    seen.add(team.image())
    (team.project / "more.py").chmod(0o755)
    seen.add(team.image())
    (team.project / "link.py").symlink_to("more.py")
    seen.add(team.image())
    (team.project / "link.py").unlink()
    (team.project / "link.py").symlink_to("nowhere.py")
    seen.add(team.image())
    assert len(seen) == 7
    team.write("__pycache__/more.pyc")
    assert team.image() in seen


def test_a_dockerfile_of_the_project_is_taken(team: Fixture) -> None:
    team.write("Dockerfile", "FROM scratch\nCOPY . .\n")
    team.write(".env", "KEY=1")
    first = team.image(base=None)
    ((words, files),) = team.calls("build")
    assert files == {"Dockerfile": "FROM scratch\nCOPY . .\n"}
    assert not any(word.startswith("--build-arg") for word in words)
    team.write("var/prompt.txt", "one")
    second = team.image(base=None)
    team.write("var/prompt.txt", "two")
    assert len({first, second, team.image(base=None)}) == 3


def test_without_a_dockerfile_the_base_must_be_said(team: Fixture) -> None:
    with pytest.raises(ImageError, match="has no Dockerfile: say what to build on with --base"):
        team.image(base=None)
