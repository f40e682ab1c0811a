"""Outputs of evaluation cases are measured by what the cases say, and thresholds are exact."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator_marketplace.evaluation_scores import (
    Answer,
    CaseScore,
    Measure,
    Share,
    evaluation,
    evaluation_statement,
    score,
    told_evaluation,
)
from orchestrator_marketplace.evaluations import EvaluationCase
from orchestrator_marketplace.manifests import Manifest, Thresholds
from orchestrator_marketplace.refusals import BundleRefused, Refusal
from orchestrator_marketplace.statements import Statement, parse_statement
from orchestrator_marketplace.strict_yaml import parse_yaml
from orchestrator_runtimes.errors import ErrorCode
from orchestrator_runtimes.json_values import Json
from tests.unit.marketplace.written_bundles import MANIFEST

OF_OBJECTS = parse_yaml(Manifest, MANIFEST.encode(), "bundle.yaml")
OF_TEXT = parse_yaml(Manifest, (MANIFEST + "output: null\n").replace(
    "output: {type: object, properties: {ok: {type: boolean}}, required: [ok]}\n", ""
).encode(), "bundle.yaml")  # fmt: skip
CASE = EvaluationCase(name="one", inputs={"text": "MIT"}, output={"ok": True}, contains=("true",))


def held(answer: Answer, case: EvaluationCase = CASE, manifest: Manifest = OF_OBJECTS) -> set[str]:
    return {measure.value for measure, holds in score(case, answer, manifest).held.items() if holds}


def test_each_measure_looks_at_one_thing() -> None:
    assert held(Answer(output={"ok": True})) == {"passed", "completed", "schema", "exact", "contains"}
    assert held(Answer(output={"ok": False})) == {"completed", "schema"}
    assert held(Answer(output={"no": "true"})) == {"completed", "contains"}
    assert held(Answer(error=ErrorCode.TOOL_FAILED, said="no")) == set()
    assert held(Answer(output="so: true"), manifest=OF_TEXT) == {"completed", "schema", "contains"}


def test_what_a_case_does_not_ask_is_not_measured() -> None:
    plain = EvaluationCase(name="plain", inputs={"text": "MIT"})
    assert set(score(plain, Answer(output={"ok": True}), OF_OBJECTS).held) == {
        Measure.PASSED,
        Measure.COMPLETED,
        Measure.SCHEMA,
    }
    found = evaluation([score(plain, Answer(output={"ok": True}), OF_OBJECTS)], None)
    assert Measure.EXACT not in found.shares and not found.missed


def test_why_a_case_fails_is_said() -> None:
    assert "the output is" in score(CASE, Answer(output={"ok": False}), OF_OBJECTS).why
    assert score(CASE, Answer(error=ErrorCode.TIMEOUT, said="late"), OF_OBJECTS).why == "timeout: late"
    assert len(score(CASE, Answer(output="x" * 10_000), OF_OBJECTS).why) < 1_000


@given(st.integers(0, 1_000), st.integers(1, 1_000), st.integers(0, 100))
def test_a_threshold_is_reached_exactly(met: int, of: int, wanted: int) -> None:
    assert Share(met=met, of=of, wanted=wanted).reached == (Fraction(met, of) >= Fraction(wanted, 100))


@given(st.lists(st.booleans(), min_size=1, max_size=20), st.integers(0, 100))
def test_a_bundle_is_refused_exactly_below_its_threshold(passed: list[bool], wanted: int) -> None:
    scores = [CaseScore(case=str(n), held={Measure.PASSED: one}, why="wrong") for n, one in enumerate(passed)]
    found = evaluation(scores, Thresholds(passed=wanted))
    if sum(passed) * 100 >= wanted * len(passed):
        found.enforce(OF_OBJECTS)
    else:
        with pytest.raises(
            BundleRefused, match=r"^\w*:? ?threshold: acme/reviewer 1.2.0: passed: "
        ) as refused:
            found.enforce(OF_OBJECTS)
        assert refused.value.refusal is Refusal.THRESHOLD
    assert bool(evaluation(scores, None).missed) is not all(passed)


@given(st.lists(st.dictionaries(st.sampled_from(list(Measure)), st.booleans()), min_size=1, max_size=9))
def test_what_is_signed_of_an_evaluation_is_read_again(given_scores: list[dict[Measure, bool]]) -> None:
    scores = tuple(
        CaseScore(case=f"case {n}", held={Measure.PASSED: False, **one}) for n, one in enumerate(given_scores)
    )
    found = evaluation(scores, OF_OBJECTS.thresholds)
    statement = parse_statement(evaluation_statement("sha256:" + "0" * 64, found).to_bytes())
    again = told_evaluation(statement, OF_OBJECTS)
    assert {one.case: dict(one.held) for one in again.scores} == {one.case: dict(one.held) for one in scores}
    assert again.shares == found.shares
    assert (statement.predicate["result"] == "PASSED") == (not found.missed)


@pytest.mark.parametrize(
    "predicate",
    [{}, {"taken": 1, "held": 1}, {"taken": {}, "held": {}}, {"taken": {"a": ["none"]}, "held": {"a": []}},
     {"taken": {"a": ["schema"]}, "held": {"a": []}}, {"taken": {"a": ["passed"]}, "held": {}}],
)  # fmt: skip
def test_what_tells_no_evaluation_is_refused(predicate: dict[str, Json]) -> None:
    with pytest.raises(BundleRefused, match="malformed: what is said of the evaluation is none"):
        told_evaluation(Statement(subject="", kind="", predicate=predicate), OF_OBJECTS)


@pytest.mark.parametrize("wrong", [-1, 101])
def test_a_threshold_is_a_percentage(wrong: int) -> None:
    with pytest.raises(ValueError, match=f"thresholds: exact: {wrong} is no percentage"):
        Thresholds(exact=wrong)
