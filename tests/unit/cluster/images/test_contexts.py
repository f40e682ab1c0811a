import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator_cluster.images import contexts
from orchestrator_cluster.images.contexts import (
    PYTHON,
    Bases,
    bases_of,
    dockerfile,
    reference,
    tag_of,
    write_context,
)
from orchestrator_cluster.images.recipes import Recipe, all_recipes, recipes_of
from orchestrator_resources.environments import lock_digest
from orchestrator_runtimes.errors import AgentError
from orchestrator_runtimes.locks import Lock, NodeLock
from orchestrator_runtimes.profiles import installed_frameworks

BASES = Bases(run="base:1", build="base:1")


def recipe(name: str) -> Recipe:
    return recipes_of([name])[0]


@pytest.fixture
def without_uv(monkeypatch: pytest.MonkeyPatch) -> None:
    """A context without the installer's uv, which would have to be fetched."""
    monkeypatch.setattr(contexts, "install_uv", print)


def test_there_is_an_image_for_each_framework_and_for_each_part_of_the_trusted_side() -> None:
    assert [one.name for one in all_recipes()] == [
        "dagster",
        "web",
        "gateway",
        *sorted(installed_frameworks()),
    ]


def test_a_name_that_is_none_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(AgentError, match="no framework 'autogen' is installed; there are agentscope, "):
        recipes_of(["autogen"])


@pytest.mark.parametrize("one", all_recipes(), ids=lambda one: one.name)
def test_every_image_has_a_user_of_its_own_and_no_step_that_a_shell_runs(one: Recipe) -> None:
    lines = dockerfile(one).splitlines()
    assert [line for line in lines if line.startswith("USER ")][-1] == f"USER {one.user}:{one.user}"
    assert one.user > 10_000
    for line in lines:
        if line.startswith("RUN "):
            assert json.loads(line[line.index("[") :])[:2] == ["python3", "-m"]
    assert lines.count("FROM ${BASE}") == 1 and lines[-1].startswith("CMD [")
    assert f'orchestrator.environment="{lock_digest(one.lock)}"' in dockerfile(one)


def test_web_server_and_runs_differ_by_what_they_are_told_only() -> None:
    one, other = (dockerfile(recipe(name)).splitlines() for name in ("dagster", "web"))
    different = {
        line.partition(" ")[0]
        for pair in zip(one, other, strict=True)
        if len(set(pair)) == 2
        for line in pair
    }
    assert different == {"LABEL", "CMD"}


def test_the_tag_is_the_same_for_the_same_and_another_for_anything_else() -> None:
    agno = recipe("agno")
    tag = tag_of(agno, BASES)
    assert tag == tag_of(recipe("agno"), Bases(run="base:1", build="base:1"))
    commented = replace(agno, lock=Lock(python="# a comment\n" + agno.lock.python))
    assert tag_of(commented, BASES) == tag, "the environment is the same"
    others = [
        tag_of(replace(agno, lock=Lock(python=agno.lock.python + "extra==1 --hash=sha256:00\n")), BASES),
        tag_of(replace(agno, distributions=agno.distributions[:1]), BASES),
        tag_of(agno, replace(BASES, run="base:2")),
        tag_of(agno, replace(BASES, build="base:2")),
        tag_of(replace(agno, command=("true",)), BASES),
    ]
    assert len({tag, *others}) == 6
    assert (
        reference(agno, BASES, "registry.example/team/") == f"registry.example/team/orchestrator-agno:{tag}"
    )


def test_public_bases_are_pinned_and_only_what_compiles_is_built_on_another() -> None:
    agno, n8n = bases_of(recipe("agno")), bases_of(recipe("n8n"))
    assert agno.build == agno.run == n8n.run and f"python:{PYTHON}-slim-bookworm@sha256:" in agno.run
    assert f"python:{PYTHON}-bookworm@sha256:" in n8n.build
    assert bases_of(recipe("n8n"), "mine:1") == Bases(run="mine:1", build="mine:1")
    assert bases_of(recipe("n8n"), "mine:1", "compilers:1") == Bases(run="mine:1", build="compilers:1")


@pytest.mark.usefixtures("without_uv")
def test_the_context_of_an_environment_does_not_hang_on_the_images_name(tmp_path: Path) -> None:
    for name in ("dagster", "web"):
        (tmp_path / name).mkdir()
        write_context(recipe(name), tmp_path / name)
    one, other = ((tmp_path / name / "environment.json").read_bytes() for name in ("dagster", "web"))
    assert one == other


@pytest.mark.usefixtures("without_uv")
def test_what_installs_needs_no_other_module_of_ours(tmp_path: Path) -> None:
    write_context(recipe("n8n"), tmp_path)
    (tmp_path / "installer" / "uv.py").write_text("def find_uv_bin(): return 'uv'")
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path / 'installer')!r})\n"
        "from pathlib import Path\n"
        "from orchestrator_cluster.images import install\n"
        f"wanted = install.Wanted.read(Path({str(tmp_path)!r}))\n"
        "from orchestrator_resources.environments import lock_digest\n"
        "print(wanted.python, lock_digest(wanted.lock))\n"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stdout.split() == [PYTHON, lock_digest(recipe("n8n").lock)], done.stderr
    assert isinstance(recipe("n8n").lock.node, NodeLock)
