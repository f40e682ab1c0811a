"""`overhead`: what the contract adds to an execution, with one guest process against one bare process."""

from collections.abc import Callable, Sequence
from statistics import median
from typing import Final

from benchmarks.endpoints import scripted_endpoint
from benchmarks.frameworks import Framework
from benchmarks.outcomes import Cell, Outcome
from benchmarks.sides import BatchReport, bare_side, our_side
from benchmarks.sizes import Sizes

LATENCY_SECONDS: Final = 0.05
"""Of each model call: small beside that of any model, so that the cost of the code shows."""

TARGET: Final = 1.05


def measure_overhead(sizes: Sizes, frameworks: Sequence[Framework], say: Callable[[str], None]) -> Outcome:
    """Run the same batches on both sides, in turns, and compare."""
    count, rows, failed = sizes.overhead_executions, list[dict[str, Cell]](), 0
    for framework in frameworks:
        with (
            scripted_endpoint(latency=LATENCY_SECONDS) as endpoint,
            bare_side(framework, endpoint.base_url) as bare,
            our_side(framework, endpoint.base_url, "--processes", "1", "--in-flight", str(count)) as ours,
        ):
            reports: list[tuple[BatchReport, BatchReport]] = []
            for turn in range(sizes.overhead_batches + 1):
                pair = ours.run(count), bare.run(count)
                failed += pair[0].failed + pair[1].failed
                if turn > 0:  # the first warms both up
                    reports.append(pair)
        row = compare(framework.name, reports)
        say(f"  {framework.name}: wall {row['wall ratio']:.3f}, CPU {row['CPU ratio']:.3f}")
        rows.append(row)
    rows.append(
        dict.fromkeys(rows[0])
        | {"framework": "median"}
        | {name: median(float(row[name] or 0) for row in rows) for name in ("wall ratio", "CPU ratio")}
    )
    wall, cpu = rows[-1]["wall ratio"], rows[-1]["CPU ratio"]
    return Outcome(
        name="overhead",
        title="Overhead of the contract",
        how=f"A batch of {count} executions at once, each of two model calls ({LATENCY_SECONDS} s each) and a tool; one"
        f" guest process against one bare process with the same agent. Medians of {sizes.overhead_batches} batches of"
        " each side, in turns, after one batch of warm-up. CPU is that of every process of the side, per execution.",
        rows=rows,
        findings=[f"Median ratio ours/bare: wall {wall:.3f}, CPU {cpu:.3f}; the target is {TARGET} or less."],
        failed=failed,
    )


def compare(name: str, reports: Sequence[tuple[BatchReport, BatchReport]]) -> dict[str, Cell]:
    """Return the row of one framework from its pairs of batches, ours first."""
    ours, bare = zip(*reports, strict=True)
    wall = [median(r.seconds / r.executions for r in side) for side in (ours, bare)]
    cpu = [median(r.cpu_seconds / r.executions for r in side) for side in (ours, bare)]
    return {
        "framework": name,
        "ours, wall ms": 1_000 * wall[0],
        "bare, wall ms": 1_000 * wall[1],
        "wall ratio": wall[0] / wall[1],
        "ours, CPU ms": 1_000 * cpu[0],
        "bare, CPU ms": 1_000 * cpu[1],
        "CPU ratio": cpu[0] / cpu[1],
    }
