"""`make check`: every checker over the whole repository, two at a time; exit status 1 when one of them objects."""

import argparse
import os
import sys
import time
from pathlib import Path

from orchestrator_tools.steps import BIN, Step, run_steps, say
from orchestrator_tools.type_checks import EnvironmentMissing, environments, type_check_steps


def plain_steps() -> list[Step]:
    """Return the checks that need no framework."""
    return [
        Step(name="ruff check", command=(str(BIN / "ruff"), "check", "--quiet", ".")),
        Step(name="ruff format", command=(str(BIN / "ruff"), "format", "--check", "--quiet", "--diff", ".")),
        Step(name="codespell", command=(str(BIN / "codespell"),)),
        Step(name="import-linter", command=(str(BIN / "lint-imports"), "--no-cache")),
        Step(name="machine-free texts", command=(sys.executable, "-m", "orchestrator_tools.machine_traces")),
        Step(
            name="generated files of the chart",
            command=(sys.executable, "-m", "orchestrator_tools.chart", "--check"),
        ),
        Step(
            name="web page of the marketplace",
            command=(sys.executable, "-m", "orchestrator_tools.marketplace_page", "--check"),
        ),
    ]


def javascript_step(python: Path) -> Step:
    """Return the check of the JavaScript's types; `python` is that of n8n's environment, which brings Node."""
    words = sys.executable, "-m", "orchestrator_tools.javascript_types", str(python)
    return Step(name="tsc, n8n", command=words)


def main() -> int:
    """Run the command line and return its exit status."""
    parser = argparse.ArgumentParser(prog="orchestrator_tools.checks", description=__doc__)
    parser.add_argument(
        "--jobs", type=int, default=os.cpu_count() or 1, help="checkers at once; default one for each core"
    )
    parser.add_argument(
        "--environment",
        action="append",
        default=[],
        metavar="NAME=PYTHON",
        help="interpreter of a framework's environment, instead of the installed one",
    )
    options = parser.parse_args()
    given = {name: Path(python) for name, _, python in (item.partition("=") for item in options.environment)}
    try:
        pythons = environments(given)
        steps = [*plain_steps(), *type_check_steps(pythons), javascript_step(pythons["n8n"])]
    except EnvironmentMissing as error:
        say(str(error))
        return 2
    began = time.monotonic()
    say(f"{len(steps)} checks, {options.jobs} at a time")
    finished = run_steps(steps, options.jobs)
    failed = sum(1 for step in finished if step.status != 0)
    say(f"{len(finished) - failed} checks passed, {failed} failed, {time.monotonic() - began:.0f} s")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
