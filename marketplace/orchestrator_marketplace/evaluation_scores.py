"""What outputs of evaluation cases are worth: measured by what the case says, by nobody's opinion.

What came of an evaluation is told to others as an in-toto test result, without inputs and outputs.
https://github.com/in-toto/attestation/blob/v1.1.1/spec/predicates/test-result.md
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, cast

from orchestrator_marketplace.evaluations import EvaluationCase
from orchestrator_marketplace.manifests import Manifest, Thresholds
from orchestrator_marketplace.refusals import BundleRefused, Refusal
from orchestrator_marketplace.statements import EVALUATION, Statement
from orchestrator_runtimes.errors import ErrorCode
from orchestrator_runtimes.json_values import Json, dump
from orchestrator_runtimes.output_schemas import mismatch

_TEXT: Final[Mapping[str, Json]] = {"type": "string"}
_SHOWN: Final = 300


class Measure(StrEnum):
    """What is asked of a case; thresholds of the manifest have these names."""

    PASSED = "passed"
    """Everything else holds."""
    COMPLETED = "completed"
    """The execution ended with an output."""
    SCHEMA = "schema"
    """The output fits the manifest's schema, or is text where there is none."""
    EXACT = "exact"
    """The output equals that of the case, where the case has one."""
    CONTAINS = "contains"
    """The output, as text, holds every text of the case, where the case has some."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """How the execution of a case ended.

    Attributes:
        output: None where it failed.
        error: Code of the error; None where it did not fail.
        said: What the error says; empty where it did not fail.
    """

    output: Json = None
    error: ErrorCode | None = None
    said: str = ""


@dataclass(frozen=True, kw_only=True)
class CaseScore:
    """What a case came to.

    Attributes:
        case: Its name.
        held: Whether each measure holds that can be taken of it.
        why: What does not hold, for its publisher alone: it may quote the output; empty when all does.
    """

    case: str
    held: Mapping[Measure, bool]
    why: str = ""

    @property
    def passed(self) -> bool:
        """Whether everything holds."""
        return self.held[Measure.PASSED]


@dataclass(frozen=True, kw_only=True)
class Share:
    """How many of the cases that a measure is about have it.

    Attributes:
        met: These.
        of: All of them.
        wanted: In percent; None when the manifest asks for nothing.
    """

    met: int
    of: int
    wanted: int | None = None

    @property
    def reached(self) -> bool:
        """Whether the threshold is reached, exactly: 2 of 3 are no 67 percent."""
        return self.wanted is None or self.met * 100 >= self.wanted * self.of

    def __str__(self) -> str:
        """Return it as people read it."""
        wanted = "" if self.wanted is None else f", {self.wanted} % are wanted"
        return f"{self.met} of {self.of}{wanted}"


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """What all cases of a bundle came to.

    Attributes:
        scores: Of each case, in their order.
        shares: By measure; those that are about no case are left out.
    """

    scores: Sequence[CaseScore]
    shares: Mapping[Measure, Share]

    @property
    def missed(self) -> Mapping[Measure, Share]:
        """Those whose threshold is not reached."""
        return {measure: share for measure, share in self.shares.items() if not share.reached}

    def enforce(self, manifest: Manifest) -> None:
        """Refuse a bundle that does not reach what its own manifest asks for.

        Raises:
            BundleRefused: `threshold`, with each threshold and the first case that failed.
        """
        if self.missed:
            told = "; ".join(f"{measure}: {share}" for measure, share in self.missed.items())
            first = next((one for one in self.scores if not one.passed), None)
            example = "" if first is None else f"; {first.case!r:.80}: {first.why}"
            raise BundleRefused(Refusal.THRESHOLD, f"{manifest.name} {manifest.version}: {told}{example}")


def score(case: EvaluationCase, answer: Answer, manifest: Manifest) -> CaseScore:
    """Return what an answer to a case is worth."""
    held: dict[Measure, bool] = {}
    why: list[str] = []

    def measured(measure: Measure, holds: bool, otherwise: str) -> None:
        held[measure] = holds
        if not holds:
            why.append(otherwise)

    shown = _text(answer.output)
    shown = shown if len(shown) <= _SHOWN else shown[:_SHOWN] + "…"
    ended = answer.error is None
    measured(Measure.COMPLETED, ended, f"{answer.error}: {answer.said}")
    wrong = mismatch(manifest.output or _TEXT, answer.output) if ended else ""
    measured(Measure.SCHEMA, ended and not wrong, wrong or "")
    if case.output is not None:
        measured(Measure.EXACT, ended and answer.output == case.output, f"the output is {shown}")
    if case.contains:
        missing = [text for text in case.contains if not ended or text not in _text(answer.output)]
        measured(Measure.CONTAINS, not missing, f"{missing[:1]} is not in the output {shown}")
    passed = all(held.values())
    said = "; ".join(one for one in why if one) if ended else why[0]
    return CaseScore(case=case.name, held={Measure.PASSED: passed, **held}, why=said)


def evaluation(scores: Sequence[CaseScore], thresholds: Thresholds | None) -> Evaluation:
    """Return what scores come to together.

    Args:
        scores: Of every case.
        thresholds: Of the manifest; None asks that every case passes.
    """
    wanted = thresholds or Thresholds()
    shares: dict[Measure, Share] = {}
    for measure in Measure:
        about = [one.held[measure] for one in scores if measure in one.held]
        if about:
            shares[measure] = Share(met=sum(about), of=len(about), wanted=getattr(wanted, measure))
    return Evaluation(scores=scores, shares=shares)


def evaluation_statement(digest: str, found: Evaluation) -> Statement:
    """Return what a publisher says of an evaluated bundle: names of cases and what held, no input and no output."""
    measures: dict[str, Json] = {
        one.case: [measure.value for measure, holds in one.held.items() if holds] for one in found.scores
    }
    taken: dict[str, Json] = {one.case: [measure.value for measure in one.held] for one in found.scores}
    return Statement(
        subject=digest,
        kind=EVALUATION,
        predicate={
            "result": "FAILED" if found.missed else "PASSED",
            "configuration": [{"name": "evaluation.jsonl"}],
            "passedTests": [one.case for one in found.scores if one.passed],
            "failedTests": [one.case for one in found.scores if not one.passed],
            "taken": taken,
            "held": measures,
        },
    )


def told_evaluation(statement: Statement, manifest: Manifest) -> Evaluation:
    """Return the evaluation that a statement tells of, by the thresholds of the manifest.

    Raises:
        BundleRefused: `malformed` when it tells none.
    """
    try:
        taken = cast("Mapping[str, Sequence[str]]", statement.predicate["taken"])
        held = cast("Mapping[str, Sequence[str]]", statement.predicate["held"])
        scores = tuple(
            CaseScore(case=name, held={Measure(one): one in held[name] for one in measures})
            for name, measures in taken.items()
        )
        if not scores or any(Measure.PASSED not in one.held for one in scores):
            raise ValueError("no case")
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BundleRefused(
            Refusal.MALFORMED, "what is said of the evaluation is none", cause=str(error)
        ) from error
    return evaluation(scores, manifest.thresholds)


def _text(output: Json) -> str:
    return output if isinstance(output, str) else dump(output).decode()
