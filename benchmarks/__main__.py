"""`make bench`: measures, prints ratios, and writes `var/bench.json` and `var/bench.md`."""

import argparse
import json
import shlex
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Final

from benchmarks.capacity import measure_capacity
from benchmarks.frameworks import (
    BENCHMARKS,
    ENTRYPOINTS,
    Framework,
    FrameworkMissing,
    find_framework,
    find_frameworks,
)
from benchmarks.gateway_calls import measure_gateway
from benchmarks.journal_writes import measure_journal
from benchmarks.launch import measure_launch
from benchmarks.machine import describe_machine
from benchmarks.outcomes import Outcome, markdown
from benchmarks.overhead import measure_overhead
from benchmarks.rows import measure_rows
from benchmarks.sides import SideFailed
from benchmarks.sizes import FULL, QUICK, Sizes
from benchmarks.thousand import measure_thousand
from benchmarks.workflows import measure_n8n

NAMES: Final = ("endpoint", "gateway", "journal", "overhead", "thousand", "launch", "rows", "n8n")

ALONE: Final = frozenset({"endpoint", "gateway", "journal", "n8n"})
"""Those that need none of the frameworks that are compared."""

BUSY_LOAD: Final = 0.5
"""Load average above which the figures are those of a machine that does something else, too."""


def measurements(
    sizes: Sizes, frameworks: Sequence[Framework], tell: Callable[[str], None]
) -> Mapping[str, Callable[[], Outcome]]:
    """Return every benchmark by name, ready to run."""
    return {
        "endpoint": partial(measure_capacity, sizes),
        "gateway": partial(measure_gateway, sizes, tell),
        "journal": partial(measure_journal, sizes),
        "overhead": partial(measure_overhead, sizes, frameworks, tell),
        "thousand": partial(measure_thousand, sizes, frameworks, tell),
        "launch": partial(measure_launch, sizes, frameworks, tell),
        "rows": partial(measure_rows, sizes, tell),
        "n8n": partial(measure_n8n, sizes, tell),
    }


def page(command: str, machine: Mapping[str, str | float | int], outcomes: Sequence[Outcome]) -> str:
    """Return all results as Markdown."""
    lines = [
        f"`{command}` on {machine['processor']}, {machine['cores']} cores, {machine['memory_gib']} GiB,"
        f" {machine['system']}, Python {machine['python']}; load average at the start {machine['load_at_start']}.",
        "",
    ]
    return "\n".join([*lines, *(markdown(outcome) for outcome in outcomes)])


def say(text: str) -> None:
    """Print a line at once, also into a pipe."""
    print(text, flush=True)


def main() -> int:
    """Run the command line and return its exit status: 1 when an execution failed, 2 when something is missing."""
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__)
    parser.add_argument(
        "--framework",
        action="append",
        default=[],
        metavar="NAME",
        help=f"one of {', '.join(sorted(ENTRYPOINTS))}; all by default",
    )
    parser.add_argument(
        "--only", action="append", default=[], choices=NAMES, help="a benchmark; all by default"
    )
    parser.add_argument(
        "--quick", action="store_true", help="small sizes: shows that it works, measures nothing"
    )
    parser.add_argument(
        "--output", type=Path, default=BENCHMARKS.parent / "var", help="folder of the results"
    )
    options = parser.parse_args()
    machine, began = describe_machine(), time.monotonic()
    selected = [name for name in NAMES if not options.only or name in options.only]
    try:
        frameworks = find_frameworks(options.framework) if set(selected) - ALONE else []
        if "n8n" in selected:
            find_framework("n8n")  # now, rather than when all others were measured
    except FrameworkMissing as error:
        say(str(error))
        return 2
    command = shlex.join(["python", "-m", "benchmarks", *sys.argv[1:]])
    say(f"{command}\non {', '.join(f'{key} {value}' for key, value in machine.items())}\n")
    if float(machine["load_at_start"]) > BUSY_LOAD:
        say(f"the machine is busy (load above {BUSY_LOAD}): take these figures for the ratios' order only\n")
    outcomes: list[Outcome] = []
    for name, measure in measurements(QUICK if options.quick else FULL, frameworks, say).items():
        if name not in selected:
            continue
        say(f"{name} ...")
        try:
            outcomes.append(measure())
        except SideFailed as error:
            say(f"{name} failed: {error}")
            return 1
        say(f"\n{markdown(outcomes[-1])}")
    seconds = time.monotonic() - began
    options.output.mkdir(parents=True, exist_ok=True)
    record = {
        "command": command,
        "machine": machine,
        "seconds": seconds,
        "benchmarks": [asdict(o) for o in outcomes],
    }
    (options.output / "bench.json").write_text(json.dumps(record, indent=1) + "\n")
    (options.output / "bench.md").write_text(page(command, machine, outcomes))
    failed = sum(outcome.failed for outcome in outcomes)
    say(f"{seconds:.0f} s; results in {options.output}/bench.json and bench.md; {failed} executions failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
