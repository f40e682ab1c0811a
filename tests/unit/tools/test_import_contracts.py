"""The contract for import-linter, through import-linter."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from orchestrator_tools.steps import BIN, CHECKOUT

SETTINGS = """\
[tool.importlinter]
root_packages = ["lean_package"]
include_external_packages = true
contract_types = ["allowed_externals: orchestrator_tools.import_contracts.AllowedExternals"]

[[tool.importlinter.contracts]]
name = "lean"
type = "allowed_externals"
modules = ["lean_package"]
allowed = [{allowed}]
"""


def lint(folder: Path, text: str, *allowed: str) -> tuple[int, str]:
    package = folder / "lean_package"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "own.py").write_text("")
    (package / "work.py").write_text(text)
    settings = SETTINGS.replace("{allowed}", ", ".join(f'"{one}"' for one in allowed))
    (folder / "pyproject.toml").write_text(settings)
    done = subprocess.run(
        [str(BIN / "lint-imports"), "--no-cache"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), str(CHECKOUT / "tools"), *sys.path])},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


GOOD = "import json\nimport os.path\nfrom lean_package import own\n"


@pytest.mark.parametrize(
    ("text", "allowed", "status", "said"),
    [
        (GOOD, (), 0, "1 kept, 0 broken"),
        (GOOD + "def f():\n    import click.core\n", (), 1, "- lean_package.work -> click"),
        (GOOD + "import click\n", ("lean_package.work -> click",), 0, "1 kept, 0 broken"),
        (GOOD + "import click, yaml\n", ("lean_package.work -> click",), 1, "- lean_package.work -> yaml"),
        (GOOD, ("lean_package.work -> click",), 1, "No matches for ignored import"),
    ],
    ids=["standard library", "inside a function", "allowed", "another one", "allowed for nothing"],
)
def test_only_the_standard_library_and_what_is_allowed_may_be_imported(
    tmp_path: Path, text: str, allowed: tuple[str, ...], status: int, said: str
) -> None:
    found, output = lint(tmp_path, text, *allowed)
    assert (found, said in output) == (status, True), output
