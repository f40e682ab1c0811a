"""Counting what the suite found, and the matrix of it."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator_defs.conformance_commands import SuiteRun, count_results, finish
from orchestrator_defs.conformance_matrix import MatrixRow, Proof, as_page, as_text, read_matrix
from orchestrator_runtimes.capabilities import Capability

PROOFS = st.builds(
    Proof,
    supported=st.booleans(),
    reason=st.text(st.characters(exclude_categories=("C", "Z")), max_size=20),
    proofs=st.integers(0, 30),
    failed=st.integers(0, 30),
)
ROWS = st.builds(
    MatrixRow,
    framework=st.sampled_from(["agno", "crewai"]),
    version=st.sampled_from(["", "1.2.3"]),
    proofs=st.fixed_dictionaries(dict.fromkeys(Capability, PROOFS)),
)


def proof(supported: bool = True, proofs: int = 3, failed: int = 0, reason: str = "") -> Proof:
    return Proof(supported=supported, reason=reason, proofs=proofs, failed=failed)


def row(**changes: Proof) -> MatrixRow:
    proofs = dict.fromkeys(Capability, proof()) | {Capability(name): value for name, value in changes.items()}
    return MatrixRow(framework="agno", version="3.1.10", proofs=proofs)


@pytest.mark.parametrize(
    ("given", "holds", "cell"),
    [
        (proof(), True, "yes (3)"),
        (proof(proofs=0), False, "UNPROVED"),
        (proof(failed=1), False, "1/3 FAILED"),
        (proof(supported=False, proofs=0), True, "no"),
    ],
)
def test_a_cell_says_what_was_proved(given: Proof, holds: bool, cell: str) -> None:
    assert (given.holds, str(given)) == (holds, cell)


@given(rows=st.lists(ROWS, max_size=3))
def test_a_matrix_is_read_as_it_was_written(
    rows: list[MatrixRow], tmp_path_factory: pytest.TempPathFactory
) -> None:
    file = tmp_path_factory.mktemp("matrix") / "matrix.jsonl"
    file.write_text("".join(f"{one.to_json()}\n" for one in rows))
    assert read_matrix(file) == rows


def test_a_matrix_that_nobody_wrote_has_no_rows(tmp_path: Path) -> None:
    assert read_matrix(tmp_path / "matrix.jsonl") == []


def test_a_page_tells_every_reason_and_has_a_cell_for_each_capability() -> None:
    page = as_page([row(approval=proof(supported=False, reason="asks nobody"))], "make conformance")
    assert "- **agno**, approval: asks nobody" in page
    assert "| approval | no |" in page
    assert page.count("| yes (3) |") == len(Capability) - 1
    assert as_text([row()]).splitlines()[0].split() == ["capability", "agno", "3.1.10"]


JUNIT = (
    '<testsuites><testsuite name="pytest" tests="{tests}" failures="{failures}" errors="{errors}" skipped="{skipped}"/>'
    "</testsuites>"
)


def test_results_are_counted_from_the_file_that_pytest_wrote(tmp_path: Path) -> None:
    file = tmp_path / "results.xml"
    assert count_results(file) == (0, 0)
    file.write_text(JUNIT.format(tests=10, failures=2, errors=1, skipped=3))
    assert count_results(file) == (4, 3)


@pytest.mark.parametrize(
    ("run", "complete", "said", "status"),
    [
        (SuiteRun(passed=9, failed=0, row=row()), True, "9 passed, 0 failed", 0),
        (SuiteRun(passed=9, failed=2, row=row(run=proof(failed=2))), True, "9 passed, 2 failed", 1),
        (SuiteRun(passed=9, failed=0, row=row(session=proof(proofs=0))), True, "9 passed, 1 failed", 1),
        (SuiteRun(passed=1, failed=0, row=row(session=proof(proofs=0))), False, "1 passed, 0 failed", 0),
        (SuiteRun(passed=0, failed=1, row=None), True, "0 passed, 1 failed", 1),
    ],
    ids=["good", "failed", "unproved", "unproved but not asked for", "did not start"],
)
def test_the_last_line_counts_and_the_status_says_whether_all_is_well(
    run: SuiteRun, complete: bool, said: str, status: int, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        finish([run], complete=complete)
    assert (capsys.readouterr().out.splitlines()[-1], ended.value.code) == (said, status)
