"""The words that builders are given, by programs of their names that write them down."""

import json
import os
import shutil
import sys
import time
from pathlib import Path

import pytest

from orchestrator_cluster.images import builders, contexts
from orchestrator_cluster.images.builders import Builder, find_builder
from orchestrator_cluster.images.contexts import Bases
from orchestrator_cluster.images.recipes import recipes_of
from orchestrator_cluster.images.wheels import ImageError

BASES = Bases(run="base:1", build="compilers:1")
IMAGE = "registry.example/orchestrator-agno:1"

PROGRAM = """\
#!{python}
import json, os, pathlib, sys
folder = pathlib.Path(__file__).parent
seen = {{name: pathlib.Path(word.split("src=")[1]).read_text() for word in sys.argv if word.startswith("id=")
        for name in [word.split(",")[0]]}}
files = sorted(os.listdir(sys.argv[-1])) if os.path.isdir(sys.argv[-1]) else []
with open(folder / "calls.jsonl", "a") as calls:
    calls.write(json.dumps([os.path.basename(sys.argv[0]), sys.argv[1:], files, sorted(seen)]) + "\\n")
answers = json.loads((folder / "answers.json").read_text())
status, said = answers.get(os.path.basename(sys.argv[0]) + " " + sys.argv[1], (0, ""))
print(said)
sys.exit(status)
"""


class Programs:
    """A folder in `PATH` with programs that are called docker and buildah."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.answers({})

    def there(self, *names: str) -> None:
        for name in names:
            (self.folder / name).write_text(PROGRAM.format(python=sys.executable))
            (self.folder / name).chmod(0o755)

    def answers(self, answers: dict[str, tuple[int, str]]) -> None:
        (self.folder / "answers.json").write_text(json.dumps(answers))

    def calls(self) -> list[tuple[str, list[str], list[str], list[str]]]:
        return [json.loads(line) for line in (self.folder / "calls.jsonl").read_text().splitlines()]


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Programs:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(contexts, "install_uv", print)
    return Programs(tmp_path)


def test_docker_is_taken_where_its_server_answers_and_buildah_otherwise(programs: Programs) -> None:
    programs.there("docker", "buildah")
    assert find_builder().name == "docker"
    assert find_builder("buildah").name == "buildah"
    programs.answers({"docker version": (1, "Cannot connect to the Docker daemon")})
    assert find_builder().name == "buildah"


@pytest.mark.parametrize(
    ("there", "wanted", "why"),
    [
        (
            (),
            None,
            "nothing here builds images: docker is not in PATH, and buildah is not in PATH; start docker, or",
        ),
        (
            ("docker",),
            None,
            "nothing here builds images: docker's server does not answer, and buildah is not in PATH",
        ),
        (
            ("docker",),
            "docker",
            "images cannot be built with docker: its server does not answer: start it, or leave",
        ),
        ((), "docker", "images cannot be built with docker: it is not in PATH, or leave --builder out"),
        (("docker",), "buildah", "images cannot be built with buildah: it is not in PATH"),
    ],
)
def test_where_nothing_builds_the_error_says_what_to_do(
    programs: Programs, there: tuple[str, ...], wanted: str | None, why: str
) -> None:
    programs.there(*there)
    programs.answers({"docker version": (1, "")})
    with pytest.raises(ImageError) as caught:
        find_builder(wanted)
    assert str(caught.value).startswith(why)


@pytest.mark.parametrize("name", ["docker", "buildah"])
def test_a_build_is_given_context_bases_and_secrets_that_are_gone_afterwards(
    programs: Programs, name: str
) -> None:
    programs.there("docker", "buildah")
    find_builder(name).build(recipes_of(["agno"])[0], BASES, IMAGE, print)
    (program, words, context, secrets) = programs.calls()[-1]
    assert program == name and words[0] == "build"
    assert {"--build-arg=BASE=base:1", "--build-arg=BUILD_BASE=compilers:1", f"--tag={IMAGE}"} < set(words)
    assert context == ["Dockerfile", "environment.json", "installer", "wheels"]
    assert secrets == ["id=certificates", "id=packages"]
    given = [Path(word.partition("src=")[2]) for word in words if word.startswith("id=")]
    assert len(given) == 2 and not any(file.exists() for file in [*given, Path(words[-1])])
    assert not [word for word in words if "packages" in word and "src=" not in word]


def test_a_build_that_fails_ends_with_what_was_said_last(programs: Programs) -> None:
    programs.there("buildah")
    programs.answers({"buildah build": (125, "no such image: base:1")})
    told: list[str] = []
    with pytest.raises(ImageError, match="buildah build ended with status 125:\n  no such image: base:1"):
        find_builder().build(recipes_of(["agno"])[0], BASES, IMAGE, told.append)
    assert told == ["no such image: base:1"]


def test_only_what_is_built_is_pushed(programs: Programs) -> None:
    programs.there("buildah")
    with pytest.raises(ImageError, match=f"{IMAGE} is not built here: run `orchestrator images build` first"):
        find_builder().push(IMAGE, print)
    programs.answers({"buildah images": (0, "269 MB")})
    find_builder().push(IMAGE, print)
    assert programs.calls()[-1][1] == ["push", IMAGE]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("docker", ["save", "--output={archive}", IMAGE]),
        ("buildah", ["push", IMAGE, "docker-archive:{archive}:" + IMAGE]),
    ],
)
def test_an_archive_takes_the_place_of_an_older_one(
    programs: Programs, tmp_path: Path, name: str, words: list[str]
) -> None:
    programs.there("docker", "buildah")
    archive = tmp_path / "agno.tar"
    archive.write_text("old")
    find_builder(name).save(IMAGE, archive, print)
    assert programs.calls()[-1][1] == [word.format(archive=archive) for word in words]
    assert not archive.exists(), "buildah adds to an archive that is there"


def test_a_builder_that_cannot_be_started_is_said_so(tmp_path: Path) -> None:
    broken = tmp_path / "docker"
    broken.write_text("#!/not/there\n")
    os.chmod(broken, 0o755)
    builder = Builder(name="docker", program=str(broken))
    assert builder.size(IMAGE) is None
    with pytest.raises(ImageError, match="cannot be started"):
        builder.save(IMAGE, tmp_path / "a.tar", print)


def shell(folder: Path, lines: str) -> Builder:
    """Return a builder that is a shell script."""
    program = folder / "buildah"
    program.write_text(f"#!{shutil.which('sh')}\n{lines}\n")
    program.chmod(0o755)
    return Builder(name="buildah", program=str(program))


def test_a_builder_that_somebody_killed_did_not_take_too_long(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="buildah push was ended by SIGKILL:\n  half way"):
        shell(tmp_path, "echo half way; kill -9 $$").save(IMAGE, tmp_path / "a.tar", print)


def test_what_takes_too_long_is_ended_with_all_that_it_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(builders, "BUILD_SECONDS", 1.0)
    began = time.monotonic()
    told: list[str] = []
    with pytest.raises(ImageError, match="buildah push was ended after 1 s"):
        shell(tmp_path, "sleep 100 & echo $!; wait").save(IMAGE, tmp_path / "a.tar", told.append)
    assert time.monotonic() - began < 50, "the child of the child holds the pipe"
    while is_running(told[0]):  # SIGKILL was sent; the test's own limit ends one that was not
        time.sleep(0.05)


def is_running(process: str) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().split()[2] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
