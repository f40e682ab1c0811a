"""`make test`: tests, the conformance suite against every runtime, and the floor of coverage, guests' code included.

The last line is `N passed, N failed`; a package below the floor counts as failed. Exit status 1 when anything failed.
"""

import json
import os
import re
import subprocess
import sys
import time
import tomllib
from typing import Final

from orchestrator_defs.conformance_commands import count_results
from orchestrator_tools.coverage_floor import FLOOR, by_package, table
from orchestrator_tools.guest_measurement import DATA_FILE, JAVASCRIPT_DATA
from orchestrator_tools.javascript_coverage import by_javascript_package, measure, sources
from orchestrator_tools.javascript_tools import NotInstalled
from orchestrator_tools.steps import BIN, CHECKOUT, say

RESULTS: Final = CHECKOUT / "var" / "results"

_CORES: Final = min(len(os.sched_getaffinity(0)), 4)
_SPREAD: Final = (f"--numprocesses={_CORES + 1}", "--dist=loadfile")
"""All tests run in a few processes, one of which usually waits; those of one file in one, as they share what is slow to
start."""

_COUNTS: Final = re.compile(r"(\d+) passed, (\d+) failed")
_ENVIRONMENT: Final = {
    "COVERAGE_FILE": str(DATA_FILE),
    "PYTEST_PLUGINS": "orchestrator_tools.guest_measurement",
    "PYTHONPATH": str(CHECKOUT / "tools"),  # for command lines that tests start elsewhere
    "DAGSTER_DISABLE_TELEMETRY": "1",
}


def show(*words: str) -> tuple[int, str]:
    """Run a command in the checkout with its output shown as it comes; return its status and its last line."""
    process = subprocess.Popen(
        [str(word) for word in words],
        cwd=CHECKOUT,
        env={**os.environ, **_ENVIRONMENT},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        errors="replace",
    )
    last = ""
    with process:
        for line in process.stdout or ():
            print(line, end="", flush=True)
            last = line.strip() or last
    return process.returncode, last


def run_tests(arguments: list[str]) -> tuple[int, int]:
    """Run pytest over the tests and return how many passed and failed."""
    results = RESULTS / "tests.xml"
    results.unlink(missing_ok=True)
    status, _ = show(*_measured("-m"), "pytest", f"--junitxml={results}", *(arguments or _SPREAD))
    passed, failed = count_results(results)
    return passed, max(failed, 1) if status else failed


def run_conformance() -> tuple[int, int]:
    """Run the suite against every runtime and return how many tests passed and failed."""
    matrix = CHECKOUT / "var" / "conformance.jsonl"
    words = ("conformance", f"--matrix={matrix}", f"--jobs={_CORES}")
    status, last = show(*_measured(str(BIN / "orchestrator")), *words)
    counts = _COUNTS.fullmatch(last)
    passed, failed = (int(counts[1]), int(counts[2])) if counts else (0, 0)
    return passed, max(failed, 1) if status else failed


def check_coverage() -> tuple[int, int]:
    """Combine what all processes measured, print the table, and return how many packages reach the floor and do not."""
    report = RESULTS / "coverage.json"
    coverage = str(BIN / "coverage")
    for words in ((coverage, "combine", "--quiet"), (coverage, "json", "--quiet", "-o", str(report))):
        status, _ = show(*words)
        if status:
            return 0, 1
    packages = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["tool"]["coverage"]["run"][
        "source_pkgs"
    ]
    try:
        javascript = by_javascript_package(measure(sources()))
    except (NotInstalled, subprocess.CalledProcessError) as error:
        say(f"the coverage of the JavaScript cannot be told: {error}")
        return 0, 1
    rows = [*by_package(json.loads(report.read_text()), packages), *javascript]
    say(table(rows))
    below = sum(1 for row in rows if row.percent < FLOOR)
    return len(rows) - below, below


def _measured(target: str) -> tuple[str, ...]:
    return (str(BIN / "coverage"), "run", f"--rcfile={CHECKOUT / 'pyproject.toml'}", target)


def main() -> int:
    """Run everything, or with arguments only pytest with them, and return the exit status."""
    began = time.monotonic()
    RESULTS.mkdir(parents=True, exist_ok=True)
    for folder in (DATA_FILE.parent, JAVASCRIPT_DATA):
        folder.mkdir(parents=True, exist_ok=True)
        for left in folder.iterdir():
            left.unlink()
    arguments = sys.argv[1:]
    say(f"== tests {' '.join(arguments)}")
    passed, failed = run_tests(arguments)
    if not arguments:
        say("\n== conformance of every runtime")
        more_passed, more_failed = run_conformance()
        say(f"\n== coverage, at least {FLOOR:.0f} % of each package")
        _, below = check_coverage()
        passed, failed = passed + more_passed, failed + more_failed + below
    say(f"\n{time.monotonic() - began:.0f} s")
    say(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
