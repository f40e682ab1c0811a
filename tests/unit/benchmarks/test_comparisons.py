"""From the reports of both sides to the rows and findings that are printed."""

import dataclasses

import pytest

from benchmarks import launch, overhead, thousand, workflows
from benchmarks.__main__ import page
from benchmarks.launch import Launch
from benchmarks.outcomes import Outcome, markdown, shown
from benchmarks.sides import BatchReport


def report(seconds: float, cpu: float, failed: int = 0, peak: int = 0) -> BatchReport:
    return BatchReport(
        executions=100, failed=failed, first_failure=None, seconds=seconds, cpu_seconds=cpu, peak_bytes=peak
    )


def test_overhead_compares_medians_per_execution() -> None:
    pairs = [
        (report(1.1, 2.0), report(1.0, 1.0)),
        (report(9.0, 9.0), report(1.0, 1.0)),
        (report(1.2, 2.2), report(1.0, 1.1)),
    ]
    row = overhead.compare("agno", pairs)
    assert row["ours, wall ms"] == pytest.approx(12)
    assert row["wall ratio"] == pytest.approx(1.2)
    assert row["CPU ratio"] == pytest.approx(2.2)


def test_thousand_counts_failures_and_memory_of_each_side() -> None:
    ours, bare = report(6.0, 8.0, peak=2**30), report(12.0, 11.0, failed=3, peak=2**28)
    row = thousand.compare("agno", ours, report(5.0, 7.0), report(2.5, 5.0), bare)
    assert row["journal ratio"] == pytest.approx(1.2)
    assert row["gateway ratio"] == pytest.approx(2.4)
    assert row["wall ratio"] == pytest.approx(0.5)
    assert (row["ours, failed"], row["bare, failed"]) == (0, 3)
    assert (row["ours, peak MB"], row["bare, peak MB"]) == (1_024, 256)


def test_launch_tells_what_the_framework_itself_takes() -> None:
    launches = {
        "plain": [Launch(first=2.0)],
        "ours": [Launch(first=3.9, second=0.03)],
        "ours spare": [Launch(first=2.3, second=0.03)],
        "plain cli": [Launch(first=3.0)],
        "ours cli": [Launch(first=5.0)],
    }
    row = launch.compare("langgraph", launches, 1.7)
    assert row["added, s"] == pytest.approx(1.9)
    assert row["added without it, s"] == pytest.approx(0.2)
    assert row["added there, s"] == pytest.approx(2.0)
    assert row["added after another run, s"] == pytest.approx(0.3)
    assert row["warm, s"] == pytest.approx(0.03)


def turns(latencies: list[float], cpu: list[float], start: workflows.Start) -> workflows.Turns:
    batches = [
        dataclasses.replace(report(1.0, 100 * each), latencies=tuple(latencies[at :: len(cpu)]))
        for at, each in enumerate(cpu)
    ]
    return workflows.Turns(start=start, reports=batches)


def test_n8n_compares_percentiles_of_all_executions_and_cpu_of_the_median_batch() -> None:
    starts = workflows.Start(ready=9.0, answered=10.0), workflows.Start(ready=6.0, answered=8.0)
    ours = turns([0.001 * n for n in range(1, 102)], [0.03, 0.01, 0.02], starts[0])
    stock = turns([0.002 * n for n in range(1, 102)], [0.04, 0.04, 9.0], starts[1])
    p50, p95, cpu = workflows.compare("Edit Fields", ours, stock)
    assert p50["measure"] == "Edit Fields: p50, ms" and p50["ratio"] == pytest.approx(0.5)
    assert p50["ours"] == pytest.approx(51) and p50["stock"] == pytest.approx(102)
    assert p95["ours"] == pytest.approx(96) and p95["stock"] == pytest.approx(192)
    assert cpu["ours"] == pytest.approx(20) and cpu["ratio"] == pytest.approx(0.5)
    ready, first = workflows.compare_starts({"Edit Fields": starts})
    assert ready["ratio"] == pytest.approx(1.5) and first["ratio"] == pytest.approx(1.25)


def test_n8n_counts_failures_of_a_crowd() -> None:
    rows = workflows.compare_crowds(report(4.0, 8.0, peak=2**30), report(8.0, 9.0, failed=1, peak=2**29))
    assert [row["ratio"] for row in rows] == [0.5, pytest.approx(8 / 9), 2.0, None]
    assert (rows[-1]["ours"], rows[-1]["stock"]) == (0, 1)


def test_n8n_tells_the_first_the_largest_and_the_last_sample_of_memory() -> None:
    samples = {500: 600 * 2**20, 1_000: 900 * 2**20, 1_500: 700 * 2**20}
    rows = workflows.memory_rows(workflows.Lasting(samples=samples, guests=3, failed=0))
    assert [row["ours"] for row in rows] == [600, 900, 700, 3]
    assert rows[-2]["measure"] == "memory of a guest after 1,500, MB"


@pytest.mark.parametrize(
    ("cell", "text"),
    [(None, "-"), ("a", "a"), (1_000, "1,000"), (0.0312, "0.0312"), (1.05, "1.05"), (2526.4, "2526"), (9.0, "9.00")],
)  # fmt: skip
def test_cells_have_three_digits(cell: str | int | float | None, text: str) -> None:
    assert shown(cell) == text


def test_a_page_says_command_machine_and_load_and_holds_every_table() -> None:
    outcome = Outcome(
        name="rows",
        title="Rows",
        how="Once.",
        rows=[{"rows": 1, "seconds": 0.5}],
        findings=["Grows linearly."],
    )
    machine: dict[str, str | float | int] = {
        "processor": "P", "cores": 2, "memory_gib": 8.0, "system": "Linux", "python": "3.11.7", "load_at_start": 0.1
    }  # fmt: skip
    text = page(
        "python -m benchmarks", machine, [outcome, dataclasses.replace(outcome, title="Again", rows=[])]
    )
    assert "`python -m benchmarks` on P, 2 cores" in text and "load average at the start 0.1" in text
    assert "| rows | seconds |\n| --- | ---: |\n| 1 | 0.500 |\n\n- Grows linearly." in text
    assert markdown(outcome) in text and "### Again" in text
