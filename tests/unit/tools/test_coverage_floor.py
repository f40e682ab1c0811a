"""The floor holds for each package by itself."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from orchestrator_tools.coverage_floor import FLOOR, PackageCoverage, by_package, table


def report(**files: tuple[int, int]) -> dict[str, Any]:
    return {
        "files": {
            name.replace("__", "/"): {"summary": {"num_statements": statements, "covered_lines": covered}}
            for name, (statements, covered) in files.items()
        }
    }


def test_files_count_for_the_package_whose_folder_they_are_in_wherever_that_lies() -> None:
    told = report(
        runtimes__a__orchestrator_a__x=(10, 9),
        tmp__guest__packages__orchestrator_a__y=(10, 1),
        other__z=(99, 0),
    )
    assert by_package(told, ["orchestrator_a", "orchestrator_b"]) == [
        PackageCoverage(package="orchestrator_a", statements=20, covered=10),
        PackageCoverage(package="orchestrator_b", statements=0, covered=0),
    ]


def test_a_package_of_which_nothing_was_measured_is_below_the_floor() -> None:
    empty = PackageCoverage(package="orchestrator_b", statements=0, covered=0)
    assert empty.percent == 0.0
    assert table([empty]).splitlines()[1].endswith(f"below {FLOOR:.0f} %")


@given(st.integers(1, 10_000), st.integers(0, 10_000))
def test_the_mark_is_there_exactly_below_the_floor(statements: int, covered: int) -> None:
    row = PackageCoverage(package="p", statements=statements, covered=min(covered, statements))
    assert ("below" in table([row])) == (100 * row.covered < FLOOR * statements)
