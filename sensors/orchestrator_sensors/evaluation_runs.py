"""Running a bundle's evaluation cases where its agent runs: in its own framework's runtime."""

import gzip
import hashlib
from collections.abc import Sequence
from typing import Final

from orchestrator_marketplace.bundle_artifacts import CODE_TYPE, Bundle
from orchestrator_marketplace.evaluation_scores import Answer, Evaluation, evaluation, score
from orchestrator_marketplace.evaluations import EvaluationCase
from orchestrator_marketplace.oci import digest_of
from orchestrator_resources.execution_batches import BatchSettings, FailurePolicy, Item, Row
from orchestrator_resources.guest_pool import Agent
from orchestrator_resources.runtimes import Runtimes
from orchestrator_runtimes import client
from orchestrator_runtimes.errors import ErrorCode
from orchestrator_runtimes.json_values import dump
from orchestrator_runtimes.messages import FinishReason
from orchestrator_runtimes.profiles import FrameworkProfile

IN_FLIGHT: Final = 8
"""Cases at once; few endpoints refuse so many."""


def evaluation_items(bundle: Bundle) -> list[Item]:
    """Return the executions of a bundle's cases: the same ids for the same bundle, so that a retry repeats none."""
    return [_item(bundle.digest, case) for case in bundle.contents.cases()]


def evaluate(bundle: Bundle, runtime: FrameworkProfile, host: Runtimes) -> Evaluation:
    """Run every case of a bundle and return what they come to.

    What finished is kept until `forget_evaluation`, so that one that broke off goes on where it was.

    Args:
        bundle: What others will run: these very bytes.
        runtime: Its framework or runtime profile.
        host: Where guests run.

    Raises:
        AgentError: The runtime or the model cannot be reached; an execution that fails by itself is a case that fails.
    """
    manifest = bundle.contents.manifest
    code = bundle.parts[CODE_TYPE]
    agent = Agent(
        source=manifest.source(),
        bundle=client.Bundle(
            digest=digest_of(code).removeprefix("sha256:"), archive=gzip.compress(code, mtime=0)
        ),
    )
    settings = BatchSettings(
        name=manifest.name,
        model=host.model(),
        in_flight=IN_FLIGHT,
        failures=FailurePolicy(kind="keep"),
        output_schema=manifest.output,
        journal=True,
    )
    rows = host.run(
        runtime,
        agent,
        evaluation_items(bundle),
        settings,
        on_event=lambda _item, _event: None,
        on_row=lambda _row: None,
    )
    _refuse_outage(rows)
    cases = bundle.contents.cases()
    scores = [score(case, _answer(row), manifest) for case, row in zip(cases, rows, strict=True)]
    return evaluation(scores, manifest.thresholds)


def forget_evaluation(bundle: Bundle, host: Runtimes) -> None:
    """Drop what was kept for a retry, once what came of the evaluation is recorded."""
    host.forget(evaluation_items(bundle))


def _item(digest: str, case: EvaluationCase) -> Item:
    named = dump(["evaluation", digest, case.name])
    return Item(
        key=case.name,
        execution=hashlib.sha256(named).hexdigest()[:32],
        inputs=dict(case.inputs),
        session=None,
    )


def _answer(row: Row) -> Answer:
    if row.result is not None and row.result.finish_reason is FinishReason.COMPLETED:
        return Answer(output=row.result.output)
    if row.error is not None:
        return Answer(error=row.error.code, said=row.error.message)
    ended = "waits for a person" if row.waiting else str(row.result and row.result.finish_reason)
    return Answer(error=ErrorCode.LIMIT_EXCEEDED, said=f"the execution ended without an output: {ended}")


def _refuse_outage(rows: Sequence[Row]) -> None:
    """Raise what every case failed of where that says nothing of the agent: no model, no runtime."""
    errors = [row.error for row in rows if row.error is not None]
    outages = (ErrorCode.MODEL_UNAVAILABLE, ErrorCode.MODEL_RATE_LIMITED, ErrorCode.STATE_UNAVAILABLE)
    for error in errors:
        if error.code in outages:
            raise error
