"""Which files are the repository's, and which environment a Python file needs."""

from pathlib import Path

import pytest

from orchestrator_tools.sources import framework_of, python_files, repository_files
from orchestrator_tools.type_checks import PLUG_IN, type_check_steps

FRAMEWORKS = ["agno", "crewai", "langgraph"]


def test_what_tools_and_runs_leave_behind_is_left_out(tmp_path: Path) -> None:
    kept = [".ci/run", ".gitignore", "a/b.py", "a/variable.py", "z"]
    left = [".git/config", ".venv/x.py", "a/__pycache__/b.pyc", "var/log", "a/dist/x", "x.egg-info/PKG-INFO"]
    for name in (*kept, *left):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    found = [str(path.relative_to(tmp_path)) for path in repository_files(tmp_path)]
    assert sorted(found) == kept


@pytest.mark.parametrize(
    ("path", "framework"),
    [
        ("runtimes/agno/orchestrator_agno/adapter.py", "agno"),
        ("benchmarks/bare/crewai.py", "crewai"),
        ("examples/x/langgraph_agent.py", "langgraph"),
        ("runtimes/contract/orchestrator_runtimes/worker.py", None),
        ("tests/unit/test_agno.py", None),
        ("runtimes/agnostic/adapter.py", None),
    ],
)
def test_a_file_needs_the_framework_that_it_or_its_folder_is_named_after(
    path: str, framework: str | None
) -> None:
    assert framework_of(Path(path), FRAMEWORKS) == framework


def test_every_file_is_checked_once_by_each_checker_except_agents_and_the_plug_in() -> None:
    pythons = dict.fromkeys(["agentscope", "agno", "crewai", "langgraph", "lightagent"], Path("python"))
    steps = type_check_steps(pythons)
    assert len(steps) == 2 * (len(pythons) + 1)
    checked = [
        word
        for step in steps
        for word in step.command
        if step.name.startswith("mypy") and word.endswith(".py")
    ]
    assert len(checked) == len(set(checked))
    left_out = {path for path in python_files() if str(path) not in checked}
    agents = {path for path in left_out if framework_of(path, list(pythons)) is not None}
    assert all(path.is_relative_to(PLUG_IN) for path in left_out - agents)
    assert not [path for path in agents if path.parent.name.startswith("orchestrator_")]
    assert Path("tests/unit/tools/test_sources.py") not in left_out
