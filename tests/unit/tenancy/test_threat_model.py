"""The threat model says of each attack which test shows it, or that nothing does; the tests are there."""

import re
from pathlib import Path

CHECKOUT = Path(__file__).parents[3]
PAGE = CHECKOUT / "docs" / "threat-model.md"


def rows() -> list[list[str]]:
    lines = [line for line in PAGE.read_text().splitlines() if line.startswith("| ") and "|---" not in line]
    return [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in lines
        if not line.startswith("| attack")
    ]


def test_each_attack_has_a_test_or_is_not_protected_against() -> None:
    assert len(rows()) > 40
    for cells in rows():
        assert "`tests/" in cells[-1] or cells[-1].startswith("not protected"), cells[0]


def test_each_test_that_is_named_is_there() -> None:
    named = re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", PAGE.read_text())
    assert len(named) > 30
    for file, function in named:
        text = (CHECKOUT / file).read_text()
        assert not function or f"def {function}(" in text, f"{file}::{function}"
