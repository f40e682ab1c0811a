"""Jobs that have no pod, as pure functions: the cluster makes none where a quota is full, or has taken it away."""

import re
from collections.abc import Iterable, Sequence
from typing import Final

from orchestrator_cluster.lost_pods import TAKEN_AWAY, Manifest, job_of

_POD_NAME: Final = re.compile(r' "[^"]*"(?= is forbidden)')
"""Another one with each try, which tells nobody anything."""
_WORDS: Final = 500

TAKEN_AWAY_POLICY: Final = {
    "rules": [
        {"action": "FailJob", "on_pod_conditions": [{"type": "DisruptionTarget", "status": "True"}]},
    ]
}
"""Of a run's job, so that it says why its pod went: a pod that is drained may be gone within a second."""


def taken_away(job: Manifest) -> str | None:
    """Return why a job has lost its pod to the cluster, in one line; None where it has not."""
    for condition in job.get("status", {}).get("conditions") or ():
        if condition["type"] == "Failed" and condition.get("reason") == "PodFailurePolicy":
            words = " ".join(str(condition.get("message", "")).split())[:_WORDS]
            return f"{TAKEN_AWAY}, as from a node that is drained or full: {words}"
    return None


def podless(jobs: Iterable[Manifest], pods: Iterable[Manifest]) -> list[Manifest]:
    """Return the jobs that are to have a pod and have none.

    Args:
        jobs: As the API server tells them, in JSON.
        pods: Of the same namespace.
    """
    served = {job_of(pod) for pod in pods}
    return [job for job in jobs if job["metadata"]["name"] not in served and _needs_pod(job)]


def refusals(events: Sequence[Manifest]) -> dict[str, str]:
    """Return what the cluster said last of why it makes no pod, in one line, by the job's uid.

    Args:
        events: As the API server tells them, in JSON, in any order.
    """
    return {
        event["involvedObject"]["uid"]: f"the cluster makes no pod for the run: {_words(event)}"
        for event in sorted(events, key=_when)
        if event.get("involvedObject", {}).get("uid")
    }


def _needs_pod(job: Manifest) -> bool:
    status: Manifest = job.get("status", {})
    over = any(
        one["type"] in ("Complete", "Failed") and one["status"] == "True"
        for one in status.get("conditions") or ()
    )
    began = any(status.get(count) for count in ("active", "succeeded", "failed"))
    return not (over or began or job["metadata"].get("deletionTimestamp"))


def _when(event: Manifest) -> str:
    return str(event.get("lastTimestamp") or event.get("eventTime") or "")


def _words(event: Manifest) -> str:
    return _POD_NAME.sub("", " ".join((event.get("message") or "").split()))[:_WORDS]
