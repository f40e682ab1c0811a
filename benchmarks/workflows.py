"""`n8n`: a workflow through the contract, against the production webhook of a stock n8n server."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median, quantiles
from typing import Final

from benchmarks.endpoints import scripted_endpoint
from benchmarks.frameworks import Framework, find_framework
from benchmarks.outcomes import Cell, Outcome
from benchmarks.sides import BatchReport, Side, our_side
from benchmarks.sizes import Sizes
from benchmarks.stock_n8n import StockN8n, stock_n8n, stock_side

WORKFLOWS: Final[Mapping[str, str]] = {"n8n_fields": "Edit Fields", "n8n_agent": "AI Agent"}
"""Files in `agents/`, and what the table calls them."""

TARGET: Final = 1.0

_ARGUMENTS: Final = {"input": "1 + 1"}
"""What the scripted model gives the calculator."""

_WARM_UP: Final = 64
"""Executions at once for which a second guest process is started, so that it is warm, too."""


@dataclass(frozen=True, kw_only=True)
class Start:
    """Seconds from the start of a process until it was ready, and until its first execution was answered."""

    ready: float
    answered: float


@dataclass(frozen=True, kw_only=True)
class Turns:
    """Batches of one workflow on one side."""

    start: Start
    reports: Sequence[BatchReport]

    def latency(self, percent: int) -> float:
        """Return a percentile of what the executions took, in seconds."""
        return quantiles(self._latencies(), n=100, method="inclusive")[percent - 1]

    def cpu(self) -> float:
        """Return CPU seconds per execution; the median of the batches."""
        return median(report.cpu_seconds / report.executions for report in self.reports)

    def _latencies(self) -> list[float]:
        return [latency for report in self.reports for latency in report.latencies]


@dataclass(frozen=True, kw_only=True)
class Lasting:
    """Resident bytes of the guests as executions add up.

    Attributes:
        samples: By executions so far: the largest guest's, with every process below it.
        guests: How many guest processes there were in all.
        failed: Executions that failed.
    """

    samples: Mapping[int, int]
    guests: int
    failed: int


def measure_n8n(sizes: Sizes, say: Callable[[str], None]) -> Outcome:
    """Measure one at a time, all at once, and for long."""
    framework, rows = find_framework("n8n"), list[dict[str, Cell]]()
    with (
        scripted_endpoint(latency=0, arguments=_ARGUMENTS) as endpoint,
        stock_n8n(framework, endpoint.base_url, list(WORKFLOWS)) as stock,
    ):
        turns = {name: _turns(framework, endpoint.base_url, stock, name, sizes) for name in WORKFLOWS}
        for name, title in WORKFLOWS.items():
            rows += compare(title, *turns[name])
            say(f"  {title}: p50 {rows[-3]['ratio']:.3f}, CPU {rows[-1]['ratio']:.3f}")
        crowds = _at_once(framework, endpoint.base_url, stock, sizes)
        say(
            f"  {sizes.thousand_executions:,} at once: {crowds[0].seconds:.1f} s, stock {crowds[1].seconds:.1f} s"
        )
        lasting = _lasting(framework, endpoint.base_url, sizes)
    rows += compare_crowds(*crowds)
    rows += compare_starts(
        {WORKFLOWS[name]: (ours.start, stock.start) for name, (ours, stock) in turns.items()}
    )
    rows += memory_rows(lasting)
    reports = [*crowds, *(report for pair in turns.values() for side in pair for report in side.reports)]
    return Outcome(
        name="n8n",
        title="n8n: a workflow through the contract and by its webhook",
        how=_how(sizes),
        rows=rows,
        findings=[_latency_finding(rows), _memory_finding(lasting), *_failures(reports)],
        failed=sum(report.failed for report in reports) + lasting.failed,
    )


def _how(sizes: Sizes) -> str:
    return (
        "The same workflow files on both sides: a webhook and Edit Fields; a webhook and an AI Agent, which asks the"
        " scripted endpoint (no latency) twice and its calculator once. Stock is `n8n start` with a user folder and a"
        " database of its own, workflows imported and published before, executions saved and expressions evaluated as"
        " is its default, called by the production webhook over kept connections; ours is one guest process, from the"
        " item to the stored row."
        f" One at a time: {sizes.n8n_batches} batches of {sizes.n8n_executions} on each side, in turns, after one"
        " execution and one batch of warm-up; percentiles of all executions, CPU as the median of the batches, per"
        " execution, of every process of the side, the caller included. At once:"
        f" {sizes.thousand_executions:,} executions of Edit Fields submitted together, after {_WARM_UP} together as"
        " warm-up; ours with as many guest processes as by default. Starts: from the start of the guest or the server"
        " until it is ready, median of the starts above, and until the first answer, one start each; the stock"
        " server's database was made before by the import. Memory:"
        f" resident, of the largest guest with every process below it, after each {sizes.n8n_lasting_executions} of"
        f" {sizes.n8n_lasting_batches * sizes.n8n_lasting_executions:,} executions of Edit Fields."
    )


def _turns(
    framework: Framework, endpoint: str, stock: StockN8n, name: str, sizes: Sizes
) -> tuple[Turns, Turns]:
    count, alone = sizes.n8n_executions, ("--processes", "1", "--in-flight", "1")
    with (
        our_side(framework, endpoint, "--entrypoint", f"{name}.json", "--start", *alone) as our,
        stock_side(stock, name, 1) as other,
    ):
        starts = [_first(side) for side in (our, other)]
        pairs = [(our.run(count), other.run(count)) for _ in range(sizes.n8n_batches + 1)]
    ours, theirs = zip(*pairs[1:], strict=True)  # the first warms both up
    return Turns(start=starts[0], reports=ours), Turns(start=starts[1], reports=theirs)


def _first(side: Side) -> Start:
    return Start(ready=side.start_seconds, answered=side.start_seconds + side.run(1).seconds)


def _at_once(
    framework: Framework, endpoint: str, stock: StockN8n, sizes: Sizes
) -> tuple[BatchReport, BatchReport]:
    count, name = sizes.thousand_executions, next(iter(WORKFLOWS))
    options = "--entrypoint", f"{name}.json", "--in-flight", str(count)
    with our_side(framework, endpoint, *options) as side:
        side.run(_WARM_UP)
        ours = side.run(count, watch_memory=True)
    with stock_side(stock, name, count) as side:
        side.run(_WARM_UP)
        return ours, side.run(count, watch_memory=True)


def _lasting(framework: Framework, endpoint: str, sizes: Sizes) -> Lasting:
    each, samples, guests, failed = sizes.n8n_lasting_executions, dict[int, int](), set[int](), 0
    with our_side(framework, endpoint, "--entrypoint", f"{next(iter(WORKFLOWS))}.json") as side:
        for number in range(1, sizes.n8n_lasting_batches + 1):
            failed += side.run(each).failed
            resident = side.resident_of_children()
            guests.update(resident)
            samples[number * each] = max(resident.values(), default=0)
    return Lasting(samples=samples, guests=len(guests), failed=failed)


def compare(title: str, ours: Turns, stock: Turns) -> list[dict[str, Cell]]:
    """Return the rows of one workflow: p50, p95, and CPU of an execution."""
    return [
        _row(f"{title}: p50, ms", 1_000 * ours.latency(50), 1_000 * stock.latency(50)),
        _row(f"{title}: p95, ms", 1_000 * ours.latency(95), 1_000 * stock.latency(95)),
        _row(f"{title}: CPU, ms", 1_000 * ours.cpu(), 1_000 * stock.cpu()),
    ]


def compare_crowds(ours: BatchReport, stock: BatchReport) -> list[dict[str, Cell]]:
    """Return the rows of the executions that were submitted together."""
    title = f"{ours.executions:,} at once"
    return [
        _row(f"{title}: wall, s", ours.seconds, stock.seconds),
        _row(f"{title}: CPU, s", ours.cpu_seconds, stock.cpu_seconds),
        _row(f"{title}: peak MB", ours.peak_bytes / 2**20, stock.peak_bytes / 2**20),
        {"measure": f"{title}: failed", "ours": ours.failed, "stock": stock.failed, "ratio": None},
    ]


def compare_starts(starts: Mapping[str, tuple[Start, Start]]) -> list[dict[str, Cell]]:
    """Return the rows of the starts, given by the title of the first execution's workflow, ours first."""
    ready = [median(pair[side].ready for pair in starts.values()) for side in (0, 1)]
    return [
        _row("start until ready, s", *ready),
        *(
            _row(f"start until the first answer of {title}, s", ours.answered, stock.answered)
            for title, (ours, stock) in starts.items()
        ),
    ]


def memory_rows(lasting: Lasting) -> list[dict[str, Cell]]:
    """Return the rows of a guest's memory; stock is not measured."""
    sampled = list(lasting.samples.values())
    told = {
        f"memory of a guest after {min(lasting.samples):,}, MB": sampled[0] / 2**20,
        "the largest such sample, MB": max(sampled) / 2**20,
        f"memory of a guest after {max(lasting.samples):,}, MB": sampled[-1] / 2**20,
        "guest processes in all": lasting.guests,
    }
    return [{"measure": name, "ours": value, "stock": None, "ratio": None} for name, value in told.items()]


def _failures(reports: Sequence[BatchReport]) -> list[str]:
    return [f"A failure: {report.first_failure}" for report in reports if report.first_failure is not None][
        :1
    ]


def _row(measure: str, ours: float, stock: float) -> dict[str, Cell]:
    return {"measure": measure, "ours": ours, "stock": stock, "ratio": ours / stock}


def _latency_finding(rows: Sequence[Mapping[str, Cell]]) -> str:
    ratios = {
        str(row["measure"]).partition(":")[0]: row["ratio"] for row in rows if "p50" in str(row["measure"])
    }
    told = ", ".join(f"{title} {ratio:.3f}" for title, ratio in ratios.items())
    return f"Ratio ours/stock of the median latency: {told}; the target is {TARGET} or less."


def _memory_finding(lasting: Lasting) -> str:
    told = ", ".join(f"{resident / 2**20:.0f}" for resident in lasting.samples.values())
    return f"Memory of the largest guest, MB, sample by sample: {told}."
