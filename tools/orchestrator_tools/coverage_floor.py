"""The floor of coverage: each package of ours must reach it by itself, guests' code included."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any, Final

FLOOR: Final = 80.0
"""Percent of the statements of each package."""


@dataclass(frozen=True, kw_only=True)
class PackageCoverage:
    """What was run of one package.

    Attributes:
        package: Import name.
        statements: How many it has; 0 means that nothing of it was measured.
        covered: How many of them ran.
    """

    package: str
    statements: int
    covered: int

    @property
    def percent(self) -> float:
        """Share of the statements that ran; 0 when nothing was measured."""
        return 100.0 * self.covered / self.statements if self.statements else 0.0


def by_package(report: Mapping[str, Any], packages: Sequence[str]) -> list[PackageCoverage]:
    """Sum a report of `coverage json` for each of `packages`."""
    statements, covered = dict.fromkeys(packages, 0), dict.fromkeys(packages, 0)
    for file, entry in report["files"].items():
        package = next((part for part in PurePath(file).parts if part in statements), None)
        if package is not None:
            statements[package] += entry["summary"]["num_statements"]
            covered[package] += entry["summary"]["covered_lines"]
    return [
        PackageCoverage(package=name, statements=statements[name], covered=covered[name]) for name in packages
    ]


def table(rows: Sequence[PackageCoverage]) -> str:
    """Return the rows as text, with a mark at each that is below the floor."""
    width = max(len(row.package) for row in rows)
    lines = [f"{'package':<{width}}  statements  covered"]
    for row in rows:
        mark = "" if row.percent >= FLOOR else f"  below {FLOOR:.0f} %"
        lines.append(f"{row.package:<{width}}  {row.statements:>10}  {row.percent:>5.1f} %{mark}")
    return "\n".join(lines)
