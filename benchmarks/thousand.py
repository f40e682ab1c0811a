"""`thousand`: a thousand executions on one machine, our runtime against the bare framework in one process."""

from collections.abc import Callable, Sequence
from statistics import median
from typing import Final

from benchmarks.endpoints import scripted_endpoint
from benchmarks.frameworks import Framework
from benchmarks.outcomes import Cell, Outcome
from benchmarks.sides import BatchReport, bare_side, our_side
from benchmarks.sizes import Sizes

LATENCY_SECONDS: Final = 1.0
JOURNAL_TARGET: Final = 1.1
IN_FLIGHT: Final = 400
"""Executions at once on our side: all that two guest processes take by default."""


def measure_thousand(sizes: Sizes, frameworks: Sequence[Framework], say: Callable[[str], None]) -> Outcome:
    """Run the batch once on each side, and on ours once more without a journal, and once without a gateway."""
    count, rows, failed = sizes.thousand_executions, list[dict[str, Cell]](), 0
    for framework in frameworks:
        with (
            scripted_endpoint(latency=LATENCY_SECONDS) as endpoint,
            our_side(framework, endpoint.base_url, "--in-flight", str(IN_FLIGHT)) as side,
        ):
            ours = side.run(count, watch_memory=True)
        unjournaled, direct = (
            _run(framework, count, without) for without in ("--without-journal", "--without-gateway")
        )
        with (
            scripted_endpoint(latency=LATENCY_SECONDS) as endpoint,
            bare_side(framework, endpoint.base_url) as side,
        ):
            side.run(1)
            bare = side.run(count, watch_memory=True)
        row = compare(framework.name, ours, unjournaled, direct, bare)
        say(
            f"  {framework.name}: ours {ours.seconds:.1f} s, without the journal {unjournaled.seconds:.1f} s, without a"
            f" gateway {direct.seconds:.1f} s, bare {bare.seconds:.1f} s"
        )
        failed += ours.failed + unjournaled.failed + direct.failed + bare.failed
        rows.append(row)
    slower = [str(row["framework"]) for row in rows if float(row["wall ratio"] or 0) >= 1]
    return Outcome(
        name="thousand",
        title=f"{count:,} executions",
        how=f"{count:,} executions, all submitted at once, each of two model calls ({LATENCY_SECONDS:.0f} s each, so"
        f" that {2 * LATENCY_SECONDS:.0f} s is the least) and a tool. Ours: at most {IN_FLIGHT} at once, without"
        " warm-up: the start of the guests counts. Bare: one process, after one execution of warm-up: its start does"
        " not count. One run of each side. Memory is the largest sum of the resident memory of all processes of the"
        " side.",
        rows=rows,
        findings=[
            "Ours is faster than bare for every framework."
            if not slower
            else f"Ours is not faster than bare for {', '.join(slower)}.",
            f"With the journal, {median(float(row['journal ratio'] or 0) for row in rows):.2f} times as long as without"
            f" it (median; the target is {JOURNAL_TARGET}), and"
            f" {median(float(row['gateway ratio'] or 0) for row in rows):.2f} times as long as without a gateway.",
        ],
        failed=failed,
    )


def _run(framework: Framework, count: int, without: str) -> BatchReport:
    with (
        scripted_endpoint(latency=LATENCY_SECONDS) as endpoint,
        our_side(framework, endpoint.base_url, "--in-flight", str(IN_FLIGHT), without) as side,
    ):
        return side.run(count)


def compare(
    name: str, ours: BatchReport, unjournaled: BatchReport, direct: BatchReport, bare: BatchReport
) -> dict[str, Cell]:
    """Return the row of one framework."""
    return {
        "framework": name,
        "ours, s": ours.seconds,
        "bare, s": bare.seconds,
        "ours without the journal, s": unjournaled.seconds,
        "journal ratio": ours.seconds / unjournaled.seconds,
        "ours without a gateway, s": direct.seconds,
        "gateway ratio": ours.seconds / direct.seconds,
        "wall ratio": ours.seconds / bare.seconds,
        "ours, failed": ours.failed,
        "bare, failed": bare.failed,
        "ours, CPU s": ours.cpu_seconds,
        "bare, CPU s": bare.cpu_seconds,
        "ours, peak MB": ours.peak_bytes / 2**20,
        "bare, peak MB": bare.peak_bytes / 2**20,
    }
