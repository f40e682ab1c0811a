"""What a benchmark found, as a table."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

Cell = str | int | float | None


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """The result of one benchmark.

    Attributes:
        name: Of the benchmark.
        title: Of its table.
        how: What was measured and how: sizes, repetitions, warm-up.
        rows: One for each line of the table, all with the same keys; a key holds the unit.
        findings: Sentences drawn from the rows.
        failed: Executions that failed or answered wrongly, anywhere in it.
    """

    name: str
    title: str
    how: str
    rows: Sequence[Mapping[str, Cell]]
    findings: Sequence[str] = field(default_factory=tuple[str, ...])
    failed: int = 0


def markdown(outcome: Outcome) -> str:
    """Return an outcome as a section of Markdown."""
    lines = [f"### {outcome.title}", "", outcome.how, ""]
    if outcome.rows:
        names = list(outcome.rows[0])
        lines += [_line(names), _line(["---"] + ["---:"] * (len(names) - 1))]
        lines += [_line([shown(row[name]) for name in names]) for row in outcome.rows]
        lines.append("")
    lines += [f"- {finding}" for finding in outcome.findings]
    return "\n".join(lines).rstrip() + "\n"


def shown(cell: Cell) -> str:
    """Return a cell as text: three significant digits, a hyphen for what was not measured."""
    if cell is None:
        return "-"
    if isinstance(cell, float):
        return f"{cell:.0f}" if abs(cell) >= 100 else f"{cell:#.3g}".rstrip(".")
    return f"{cell:,}" if isinstance(cell, int) else cell


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
