"""`make demo`: agents of all five frameworks review installed distributions; prints what they did and where it is."""

import argparse
import re
import subprocess
import sys
import time
from typing import Final

from orchestrator_tools.instances import EXAMPLE, INSTANCE, instance_environment, prepare_instance
from orchestrator_tools.steps import BIN, CHECKOUT, say

LOG: Final = CHECKOUT / "var" / "demo.log"
REPORT: Final = INSTANCE / "storage" / "dependency_review" / "report.md"

_TAIL: Final = 40
_JOB: Final = re.compile(r"^\w+ - [0-9a-f-]{36} - ")
"""Name and id of the run, which are the same in each line."""

_SHOWN: Final = (" - INFO - ", " - WARNING - ", " - ERROR - ")


def message(line: str) -> str | None:
    """Return what Dagster's console log says to people in a line; None for what only developers need."""
    for level in _SHOWN:
        if level in line:
            said = line.partition(level)[2].rstrip()
            return _JOB.sub("", said, count=1)
    return None


def launch(rows: int) -> int:
    """Materialize every asset of the example, show its messages, and return the exit status."""
    environment = instance_environment() | {"DEPENDENCY_REVIEW_ROWS": str(rows)}
    process = subprocess.Popen(
        [str(BIN / "dg"), "launch", "--assets", "*"],
        cwd=EXAMPLE,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    LOG.parent.mkdir(parents=True, exist_ok=True)
    with process, LOG.open("w") as log:
        for line in process.stdout or ():
            log.write(line)
            if (said := message(line)) is not None:
                say(f"  {said}")
    return process.returncode


def main() -> int:
    """Run the command line and return its exit status."""
    parser = argparse.ArgumentParser(prog="orchestrator_tools.demo", description=__doc__)
    parser.add_argument(
        "--rows", type=int, required=True, help="distributions to review; each agent reviews each"
    )
    rows = parser.parse_args().rows
    began = time.monotonic()
    prepare_instance()
    REPORT.unlink(missing_ok=True)
    say(f"{rows} distributions, reviewed by agents of every framework; full log: {LOG.relative_to(CHECKOUT)}")
    status = launch(rows)
    if status != 0 or not REPORT.exists():
        say("".join(LOG.read_text().splitlines(keepends=True)[-_TAIL:]))
        say(f"the demo failed with status {status}; the end of its log is above")
        return status or 1
    say(f"\n{REPORT.read_text()}\n")
    say(f"done in {time.monotonic() - began:.0f} s")
    say(f"report:  {REPORT.relative_to(CHECKOUT)}")
    say(f"picture: {REPORT.with_suffix('.svg').relative_to(CHECKOUT)}")
    say("web UI:  `make up` shows the assets, their lineage and their runs")
    return 0


if __name__ == "__main__":
    sys.exit(main())
