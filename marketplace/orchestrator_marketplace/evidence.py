"""What a marketplace's checks saw of a version, for whoever decides whether to take it: facts, not an opinion."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from orchestrator_marketplace.acceptance import Accepted
from orchestrator_marketplace.bundle_artifacts import Bundle
from orchestrator_marketplace.evaluation_scores import Evaluation, Share, told_evaluation
from orchestrator_marketplace.locked_packages import Package
from orchestrator_marketplace.refusals import BundleRefused
from orchestrator_marketplace.statements import EVALUATION, Statement
from orchestrator_runtimes.json_values import Json


@dataclass(frozen=True, kw_only=True)
class ToldEvaluation:
    """What the publisher of a bundle signed of its evaluation: their word, as no marketplace runs an agent.

    Attributes:
        measures: How many cases have what is measured, and how many percent of them the manifest wants, by the name of
            the measure; those that are about no case are left out.
        failed: Names of the cases of which not everything holds.
    """

    measures: Mapping[str, Share]
    failed: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What was seen of a version when it was checked.

    Attributes:
        digest: Of the bundle that was looked at.
        publisher: Whose signature it was.
        signed: When they signed, RFC 3339, as they say; None when they do not.
        expires: Until when the signature holds, RFC 3339; None when without end.
        provenance: How the bundle came about, as its publisher says: a SLSA predicate.
        packages: What its environment is made of.
        cases: Names of its evaluation cases.
        evaluation: What came of these cases, as the publisher says; None when they say nothing that can be read, and in
            what was seen before marketplaces looked.
    """

    digest: str
    publisher: str
    signed: str | None = None
    expires: str | None = None
    provenance: Mapping[str, Json] = field(default_factory=dict[str, Json])
    packages: tuple[Package, ...] = ()
    cases: tuple[str, ...] = ()
    evaluation: ToldEvaluation | None = None


def evidence_of(accepted: Accepted, said: Iterable[Statement]) -> Evidence:
    """Return what was seen of a bundle that is taken.

    Args:
        accepted: The bundle.
        said: What its publisher says of it, and nobody else, of whatever kind.
    """
    bundle, verified = accepted.bundle, accepted.verified
    return Evidence(
        digest=bundle.digest,
        publisher=verified.publisher,
        signed=_moment(verified.signed),
        expires=_moment(verified.expires),
        provenance=verified.provenance.predicate,
        packages=bundle.packages,
        cases=tuple(case.name for case in bundle.contents.cases()),
        evaluation=_told(bundle, said),
    )


def _told(bundle: Bundle, said: Iterable[Statement]) -> ToldEvaluation | None:
    """Return the worst that is told, as nobody knows which was told last."""
    found = min(
        _evaluations(bundle, said), key=lambda one: sum(score.passed for score in one.scores), default=None
    )
    if found is None:
        return None
    return ToldEvaluation(
        measures={measure.value: share for measure, share in found.shares.items()},
        failed=tuple(score.case for score in found.scores if not score.passed),
    )


def _evaluations(bundle: Bundle, said: Iterable[Statement]) -> Iterator[Evaluation]:
    """Yield what is told of all cases of a bundle and no others; results that other tools told are no harm."""
    cases = {case.name for case in bundle.contents.cases()}
    for statement in said:
        if statement.kind == EVALUATION:
            try:
                told = told_evaluation(statement, bundle.contents.manifest)
            except BundleRefused:
                continue
            if {score.case for score in told.scores} == cases:
                yield told


def _moment(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()
