"""Evaluations that tests sign: nothing ran, so that what comes of them is what the test says."""

from cryptography.hazmat.primitives.asymmetric import ec

from orchestrator_marketplace.bundle_artifacts import Bundle
from orchestrator_marketplace.evaluation_scores import CaseScore, Measure, evaluation, evaluation_statement
from orchestrator_marketplace.layouts import Layout
from orchestrator_marketplace.signatures import Signer, add_statement


def sign_evaluation(
    layout: Layout, bundle: Bundle, key: ec.EllipticCurvePrivateKey, *, passes: bool, of: tuple[str, ...] = ()
) -> None:
    """Put an evaluation beside a bundle of a layout.

    Args:
        layout: Where the bundle is.
        bundle: As it was opened.
        key: Whose word it is.
        passes: Whether every case does, or none.
        of: Names of cases; empty takes those of the bundle.
    """
    cases = of or tuple(case.name for case in bundle.contents.cases())
    held = {Measure.PASSED: passes, Measure.COMPLETED: True, Measure.EXACT: passes}
    scores = [CaseScore(case=case, held=held) for case in cases]
    found = evaluation(scores, bundle.contents.manifest.thresholds)
    add_statement(layout, bundle.digest, evaluation_statement(bundle.digest, found), Signer(key=key))
