"""pyright and mypy, strict, over everything: the trusted side here, each framework's files in its environment."""

import json
import os
import sys
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from orchestrator_resources.environments import EnvironmentStore
from orchestrator_resources.homes import home_folder
from orchestrator_runtimes.profiles import installed_frameworks
from orchestrator_tools.sources import framework_of, python_files
from orchestrator_tools.steps import BIN, CHECKOUT, Step

CONFIGURATIONS: Final = CHECKOUT / "var" / "pyright"
PLUG_IN: Final = Path("tests", "integration", "plug_in")
"""A framework that is not installed here: its test checks its types in the environment that it makes."""

_PYRIGHT_ENVIRONMENT: Final = {
    "PYRIGHT_PYTHON_USE_BUNDLED_PYRIGHT": "1",
    "PYRIGHT_PYTHON_IGNORE_WARNINGS": "1",  # it would ask for its newest version over the network
}


_FRAMEWORKS_OWN: Final[Mapping[str, bool]] = dict.fromkeys(
    (
        "reportMissingTypeStubs",
        "reportUnknownArgumentType",
        "reportUnknownLambdaType",
        "reportUnknownMemberType",
        "reportUnknownVariableType",
    ),
    False,
)
"""Rules that hold an adapter to account for what its framework left without a type; mypy has none of them."""


class EnvironmentMissing(Exception):
    """A framework's environment is not installed."""


def environments(given: Mapping[str, Path]) -> dict[str, Path]:
    """Return the interpreter of each installed framework's environment, by name.

    Args:
        given: Interpreters to use instead of looking them up.

    Raises:
        EnvironmentMissing: With what to do.
    """
    store = EnvironmentStore(home_folder())
    found: dict[str, Path] = {}
    for name, profile in installed_frameworks().items():
        environment = None if name in given else store.find(profile.lock())
        if environment is None and name not in given:
            raise EnvironmentMissing(f"{name} is not installed: run `make runtimes`")
        found[name] = given[name] if environment is None else environment.python
    return found


def type_check_steps(pythons: Mapping[str, Path]) -> list[Step]:
    """Return the steps that check every Python file once with each checker.

    Agents are left out: they are written as a framework's users write them, and its annotations are sometimes wrong
    where its code is right (AgentScope 2.0.10 refuses every tool that returns text). Tests run all of them.
    """
    frameworks = sorted(pythons)
    files: dict[str | None, list[Path]] = {}
    for path in python_files():
        if path.is_relative_to(PLUG_IN):
            continue
        framework = framework_of(path, frameworks)
        if framework is None or (CHECKOUT / path.parent / "__init__.py").exists():
            files.setdefault(framework, []).append(path)
    steps: list[Step] = []
    for framework, group in sorted(files.items(), key=lambda item: item[0] or ""):
        name, python = framework or "trusted side", pythons[framework] if framework else Path(sys.executable)
        own = [Path("runtimes", framework)] if framework else []
        rules = _FRAMEWORKS_OWN if framework else {}
        steps += [_mypy(name, python, own, group), _pyright(name, python, own, group, rules)]
    return steps


def _mypy(name: str, python: Path, own: Sequence[Path], files: Sequence[Path]) -> Step:
    return Step(
        name=f"mypy, {name}",
        command=(
            str(BIN / "mypy"),
            "--no-error-summary",
            f"--python-executable={python}",
            f"--cache-dir=.mypy_cache/{name.replace(' ', '-')}",
            *map(str, files),
        ),
        environment={"MYPYPATH": ":".join(map(str, own))},
    )


def _pyright(
    name: str, python: Path, own: Sequence[Path], files: Sequence[Path], rules: Mapping[str, bool]
) -> Step:
    """Write a configuration of its own: pyright takes no search paths on its command line."""
    settings = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["tool"]["pyright"]
    up = os.path.relpath(CHECKOUT, CONFIGURATIONS)
    configuration = {
        "typeCheckingMode": settings["typeCheckingMode"],
        "include": [f"{up}/{path}" for path in files],  # pyright ignores absolute ones
        "extraPaths": [up, *(f"{up}/{path}" for path in (*settings["extraPaths"], *own))],
        **rules,
    }
    CONFIGURATIONS.mkdir(parents=True, exist_ok=True)
    file = CONFIGURATIONS / f"{name.replace(' ', '-')}.json"
    file.write_text(json.dumps(configuration, indent=1))
    return Step(
        name=f"pyright, {name}",
        command=(str(BIN / "pyright"), "--warnings", f"--project={file}", f"--pythonpath={python}"),
        environment=_PYRIGHT_ENVIRONMENT,
    )
