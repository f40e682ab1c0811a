"""Evaluation cases and thresholds of a bundle as Dagster's asset checks.

Laws of names: any case of a bundle has a name that Dagster takes; no two cases have the same; the same case has the
same name in every version.
"""

import hashlib
import re
from collections.abc import Iterator, Sequence
from typing import Final

import dagster as dg

from orchestrator_marketplace.evaluation_scores import CaseScore, Evaluation, Measure, Share
from orchestrator_marketplace.evaluations import EvaluationCase

_LONGEST: Final = 60
_HASHED: Final = re.compile(r"_[0-9a-f]{8}")
_THRESHOLD: Final = "threshold_"


def case_check_name(case: str) -> str:
    """Return the name of a case's check."""
    plain = re.sub(r"[^A-Za-z0-9]+", "_", case)[:_LONGEST].strip("_")
    if plain == case and _HASHED.fullmatch(case[-9:]) is None:
        return f"case_{plain}"
    return f"case_{plain}_{hashlib.sha256(case.encode()).hexdigest()[:8]}"


def check_specs(asset: dg.AssetKey, cases: Sequence[EvaluationCase]) -> list[dg.AssetCheckSpec]:
    """Return a check for each measure and each case; those of measures say whether thresholds are reached."""
    return [
        *(
            dg.AssetCheckSpec(
                f"{_THRESHOLD}{measure}", asset=asset, description=f"Share of the cases: {measure}."
            )
            for measure in measures_of(cases)
        ),
        *(
            dg.AssetCheckSpec(case_check_name(case.name), asset=asset, description=case.name)
            for case in cases
        ),
    ]


def check_results(asset: dg.AssetKey, found: Evaluation) -> Iterator[dg.AssetCheckResult]:
    """Yield what an evaluation came to: a case that fails warns, a threshold that is missed is an error."""
    for measure, share in found.shares.items():
        yield _threshold(asset, measure, share)
    for score in found.scores:
        yield _case(asset, score)


def measures_of(cases: Sequence[EvaluationCase]) -> list[Measure]:
    """Return the measures that are about at least one case."""
    given = {
        Measure.EXACT: any(case.output is not None for case in cases),
        Measure.CONTAINS: any(case.contains for case in cases),
    }
    return [measure for measure in Measure if given.get(measure, True)]


def _threshold(asset: dg.AssetKey, measure: Measure, share: Share) -> dg.AssetCheckResult:
    wanted = {} if share.wanted is None else {"wanted_percent": share.wanted}
    return dg.AssetCheckResult(
        asset_key=asset,
        check_name=f"{_THRESHOLD}{measure}",
        passed=share.reached,
        severity=dg.AssetCheckSeverity.ERROR,
        metadata={"met": share.met, "of": share.of, **wanted},
        description=str(share),
    )


def _case(asset: dg.AssetKey, score: CaseScore) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(
        asset_key=asset,
        check_name=case_check_name(score.case),
        passed=score.passed,
        severity=dg.AssetCheckSeverity.WARN,
        metadata={str(measure): holds for measure, holds in score.held.items()},
        description=score.why or None,
    )
