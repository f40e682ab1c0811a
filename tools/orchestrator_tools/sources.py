"""The files of the repository: which there are, and which environment checks a Python file."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from orchestrator_tools.steps import CHECKOUT

_MADE: Final = frozenset({"__pycache__", "var", "dist", "build", "node_modules"})


def repository_files(folder: Path = CHECKOUT) -> Iterator[Path]:
    """Yield every file below a folder that is written by people, without what tools and runs leave behind.

    Folders whose names begin with a dot are left out, except `.ci`.
    """
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(
            name
            for name in folders
            if name not in _MADE
            and not name.endswith(".egg-info")
            and (not name.startswith(".") or name == ".ci")
        )
        yield from (Path(parent, name) for name in sorted(names))


def python_files() -> list[Path]:
    """Return every Python file of the repository, relative to the checkout."""
    return [path.relative_to(CHECKOUT) for path in repository_files() if path.suffix == ".py"]


def framework_of(path: Path, frameworks: Sequence[str]) -> str | None:
    """Return the framework whose environment a file needs; None when it runs on the trusted side.

    The rule: the file or one of its folders is named after the framework, as in `runtimes/agno/`, `bare/agno.py` and
    `agno_agent.py`.
    """
    names = {*path.parts[:-1], path.stem, path.stem.partition("_")[0]}
    return next((framework for framework in frameworks if framework in names), None)
