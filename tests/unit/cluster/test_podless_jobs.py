"""Jobs without pods, as an API server tells of them."""

from typing import Any

import pytest

from orchestrator_cluster.podless_jobs import podless, refusals, taken_away


def job(status: dict[str, Any] | None = None, **metadata: Any) -> dict[str, Any]:
    return {"metadata": {"name": "dagster-run-1", "uid": "1", **metadata}, "status": status or {}}


def test_a_job_that_is_to_have_a_pod_and_has_none_is_found() -> None:
    waiting = job({"ready": 0, "terminating": 0})
    assert podless([waiting], []) == [waiting]
    owner = {"kind": "Job", "name": "dagster-run-1", "controller": True}
    assert podless([waiting], [{"metadata": {"ownerReferences": [owner]}}]) == []
    assert podless([waiting], [{"metadata": {"ownerReferences": [{**owner, "name": "other"}]}}]) == [waiting]


@pytest.mark.parametrize(
    "other",
    [
        job({"active": 1}),
        job({"succeeded": 1}),
        job({"failed": 1}),
        job({"conditions": [{"type": "Failed", "status": "True"}]}),
        job(deletionTimestamp="2026-11-26T10:00:00Z"),
    ],
)
def test_a_job_that_has_or_had_a_pod_or_is_removed_is_none(other: dict[str, Any]) -> None:
    assert podless([other], []) == []


def test_the_last_refusal_counts_however_its_time_is_written() -> None:
    def event(message: str, **time: Any) -> dict[str, Any]:
        return {"involvedObject": {"uid": "1"}, "message": message, **time}

    events: list[dict[str, Any]] = [
        event("last", lastTimestamp=None, eventTime="2026-11-26T10:00:09.000000Z"),
        event("first", lastTimestamp="2026-11-26T10:00:08Z"),
        {"involvedObject": {}, "message": "of nobody"},
    ]
    assert refusals(events) == {"1": "the cluster makes no pod for the run: last"}
    assert len(refusals([event("word " * 1_000)])["1"]) < 600


def test_a_job_says_that_its_pod_was_taken_away() -> None:
    def failed(reason: str) -> dict[str, Any]:
        words = "Pod acme/run-1 has condition DisruptionTarget matching FailJob rule at index 0"
        return job({"conditions": [{"type": "Failed", "status": "True", "reason": reason, "message": words}]})

    assert "is drained or full: Pod acme/run-1 has condition" in str(taken_away(failed("PodFailurePolicy")))
    assert taken_away(failed("BackoffLimitExceeded")) is None and taken_away(job()) is None
