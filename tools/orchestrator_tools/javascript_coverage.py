"""Coverage of the JavaScript that packages of ours bring; `python -m` this module tells the lines that did not run.

What each process of Node ran lies in `var/coverage-javascript` (see `guest_measurement`); here it is put together.
"""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from orchestrator_resources.node_packages import node_wheel
from orchestrator_tools.coverage_floor import PackageCoverage
from orchestrator_tools.guest_measurement import JAVASCRIPT_DATA
from orchestrator_tools.javascript_tools import SOURCES, NotInstalled, install_tools
from orchestrator_tools.steps import CHECKOUT, say

SUFFIX: Final = " (JavaScript)"


@dataclass(frozen=True, kw_only=True)
class FileCoverage:
    """What was run of one file.

    Attributes:
        statements: How many it has.
        covered: How many of them ran in any process.
        missing: Numbers of the lines on which one begins that did not run.
    """

    statements: int
    covered: int
    missing: Sequence[int]


def sources(checkout: Path = CHECKOUT) -> list[Path]:
    """Return every file of JavaScript of the released packages."""
    return sorted(checkout.glob("runtimes/*/orchestrator_*/**/*.js"))


def measure(files: Sequence[Path], folder: Path = JAVASCRIPT_DATA) -> dict[Path, FileCoverage]:
    """Return what was run of each file.

    Args:
        files: Absolute; of one that no process ran everything is missing.
        folder: What the processes of Node wrote; none wrote anything where it is not there.

    Raises:
        NotInstalled: The compiler that reads the files is not there.
        CalledProcessError: A report or a file cannot be read; Node has said why.
    """
    folder.mkdir(parents=True, exist_ok=True)
    wheel = node_wheel(Path(sys.prefix))
    if wheel is None:
        raise NotInstalled("the virtual environment has no Node: run `make` again")
    packages = install_tools(wheel)
    words = [
        str(wheel / "bin" / "node"),
        str(SOURCES / "covered_statements.js"),
        str(folder),
        *map(str, files),
    ]
    environment = {**os.environ, "NODE_PATH": str(packages)}
    done = subprocess.run(words, env=environment, stdout=subprocess.PIPE, check=True)
    return {Path(file): FileCoverage(**entry) for file, entry in json.loads(done.stdout).items()}


def by_javascript_package(report: Mapping[Path, FileCoverage]) -> list[PackageCoverage]:
    """Sum what `measure` returned for each package; its name says that the row is of its JavaScript."""
    totals: dict[str, tuple[int, int]] = {}
    for file, found in report.items():
        package = file.relative_to(CHECKOUT).parts[2]  # below runtimes/<framework>
        statements, covered = totals.get(package, (0, 0))
        totals[package] = statements + found.statements, covered + found.covered
    return [
        PackageCoverage(package=f"{name}{SUFFIX}", statements=statements, covered=covered)
        for name, (statements, covered) in sorted(totals.items())
    ]


def main() -> int:
    """Print each file's share and the lines that did not run; return 1 when it cannot be told."""
    try:
        report = measure(sources())
    except (NotInstalled, subprocess.CalledProcessError) as error:
        say(str(error))
        return 1
    for file, found in report.items():
        share = 100 * found.covered / max(found.statements, 1)
        missing = ", ".join(map(str, found.missing))
        say(f"{file.relative_to(CHECKOUT)}  {found.statements}  {share:.0f} %  {missing}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
