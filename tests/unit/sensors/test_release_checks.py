"""Names of checks: valid for any case, no two the same, the same in every version."""

import re

import dagster as dg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator_marketplace.evaluations import EvaluationCase
from orchestrator_sensors.release_checks import case_check_name, check_specs

UGLY = [
    "",
    " ",
    "a b",
    "a_b",
    "a-b",
    "A",
    "a",
    "ä",
    "x" * 100,
    "x" * 99 + "y",
    "a_01234567",
    "..",
    "💥",
    "_a",
    "a__b",
]


@given(st.lists(st.text(max_size=100), unique=True, max_size=20))
@pytest.mark.filterwarnings("error")
def test_any_names_have_checks_of_their_own(names: list[str]) -> None:
    _law([*names, *(name for name in UGLY if name not in names)])


@given(st.text(min_size=1, max_size=60))
def test_a_name_that_is_made_to_collide_does_not(name: str) -> None:
    made = case_check_name(name).removeprefix("case_")
    _law(list({name, made}))


def _law(names: list[str]) -> None:
    found = [case_check_name(name) for name in names]
    assert len(set(found)) == len(names)
    assert all(re.fullmatch(r"[A-Za-z0-9_]{1,100}", one) for one in found)
    assert found == [case_check_name(name) for name in names]


def test_checks_are_those_that_some_case_is_about() -> None:
    cases = [EvaluationCase(name="plain", inputs={}), EvaluationCase(name="a b", inputs={}, contains=("x",))]
    specs = check_specs(dg.AssetKey("a"), cases)
    assert [spec.name for spec in specs][:-1] == [
        "threshold_passed", "threshold_completed", "threshold_schema", "threshold_contains", "case_plain",
    ]  # fmt: skip
    assert specs[-1].name.startswith("case_a_b_") and specs[-1].description == "a b"
