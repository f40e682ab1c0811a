"""Why a pod can do its run no more, or waits: read from what the cluster says of it, as pure functions.

Dagster asks after a run's job only while the run's own container works, and hears nothing of sidecars. Kubernetes
starts a sidecar again that died, without the guests that the run had in it.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

RUN_CONTAINER: Final = "dagster"
"""The container that runs Dagster, as dagster-k8s calls it."""

RELAY_CONTAINER: Final = "gateway-relay"
"""The sidecar by which guests reach a gateway that speaks TLS: one that is started again has lost nothing but calls."""

TAKEN_AWAY: Final = "the pod is taken away"
"""What every reason begins with that is the cluster's and not the run's."""
ENDED: Final = "the pod was ended by the cluster"
"""What every reason begins with for which the cluster blames the pod, such as a full volume."""

_HOPELESS: Final = frozenset(
    {
        "CreateContainerConfigError",  # a secret or config map is missing
        "CreateContainerError",
        "ErrImageNeverPull",
        "ImageInspectError",
        "ImagePullBackOff",  # the first try is `ErrImagePull`; this is after it
        "InvalidImageName",
        "RunContainerError",
    }
)
_WORDS: Final = 500
"""Characters of what the cluster says that are passed on."""

Manifest = Mapping[str, Any]


def loss_of(pod: Manifest) -> str | None:
    """Return why a pod can do its run no more, in one line; None when it works, waits, or has done it.

    Args:
        pod: As the API server tells it, in JSON.
    """
    status: Manifest = pod.get("status", {})
    disruption = _disruption(pod)
    if disruption is not None:
        return _told(f"{TAKEN_AWAY} ({disruption.get('reason', '')})", disruption.get("message"))
    if status.get("phase") == "Failed" and status.get("reason"):
        return _told(f"{ENDED} ({status['reason']})", status.get("message"))
    if pod["metadata"].get("deletionTimestamp"):
        return None  # whoever deletes it knows why
    own, sidecars = _statuses(status)
    for one in (*sidecars, *([own] if own else [])):
        stuck = _stuck(one)
        if stuck is not None:
            return stuck
    ended: Manifest | None = own.get("state", {}).get("terminated")
    if ended is not None:
        return None if ended["exitCode"] == 0 else _end(pod, own, ended)
    for one in sidecars:
        ended = _last_end(one)
        if ended is not None and one["name"] != RELAY_CONTAINER:
            return f"{_end(pod, one, ended)}; the run's guests in it are lost"
    return None


def is_ended_from_outside(pod: Manifest) -> bool:
    """Return whether the cluster ends a pod, so that what was in it only knows that it was interrupted."""
    status: Manifest = pod.get("status", {})
    return _disruption(pod) is not None or (status.get("phase") == "Failed" and bool(status.get("reason")))


def is_rejected(pod: Manifest) -> bool:
    """Return whether a node did not take a pod that was meant for it: nothing in it has begun, and another may do."""
    status: Manifest = pod.get("status", {})
    words = str(status.get("message", ""))
    return status.get("phase") == "Failed" and words.startswith("Pod was rejected") and not has_begun(pod)


def failure_of(pod: Manifest, container: str) -> str | None:
    """Return why a container that is to serve for ever does not, in one line; None when it serves, starts or waits."""
    for one in pod.get("status", {}).get("containerStatuses") or ():
        if one["name"] == container:
            ended = _last_end(one)
            return _stuck(one) or (None if ended is None else _end(pod, one, ended))
    return None


def wait_of(pod: Manifest) -> str | None:
    """Return why a pod is on no node yet, in one line; None when it is on one, or nobody has looked for one."""
    for condition in pod.get("status", {}).get("conditions", ()):
        if condition["type"] == "PodScheduled" and condition.get("reason") == "Unschedulable":
            return _told(
                f"the pod waits for a node that has room for it{_pool(pod)}", condition.get("message")
            )
    return None


def _pool(pod: Manifest) -> str:
    """Return which nodes alone a pod may be on, for people; empty where it may be on any."""
    labels: Manifest = pod.get("spec", {}).get("nodeSelector") or {}
    words = ", ".join(f"{label}={value}" for label, value in sorted(labels.items()))
    return f" and the labels {words}" if words else ""


def has_begun(pod: Manifest) -> bool:
    """Return whether the run's own container has ever run."""
    own, _ = _statuses(pod.get("status", {}))
    return any(
        part in own.get(state, {}) for state in ("state", "lastState") for part in ("running", "terminated")
    )


def waits(pod: Manifest) -> bool:
    """Return whether a pod is still to begin, and nobody removes it."""
    waiting = pod.get("status", {}).get("phase") == "Pending" and not has_begun(pod)
    return waiting and not pod["metadata"].get("deletionTimestamp")


def job_of(pod: Manifest) -> str | None:
    """Return the name of the job that made a pod; None where none did."""
    for owner in pod["metadata"].get("ownerReferences") or ():
        if owner.get("controller") and owner["kind"] == "Job":
            return str(owner["name"])
    return None


def _disruption(pod: Manifest) -> Manifest | None:
    """Return the condition by which the cluster says that it takes a pod away; None where it does not."""
    for condition in pod.get("status", {}).get("conditions", ()):
        if condition["type"] == "DisruptionTarget" and condition["status"] == "True":
            return dict(condition)
    return None


def _statuses(status: Manifest) -> tuple[Manifest, list[Manifest]]:
    """Return what is said of the run's own container, and of the others."""
    everyone: Iterator[Manifest] = (
        one for part in ("initContainerStatuses", "containerStatuses") for one in status.get(part) or ()
    )
    by_name = {one["name"]: one for one in everyone}
    return by_name.pop(RUN_CONTAINER, {}), list(by_name.values())


def _stuck(one: Manifest) -> str | None:
    """Return why a container can never start, in one line; None when it can."""
    waiting: Manifest = one.get("state", {}).get("waiting", {})
    if waiting.get("reason") not in _HOPELESS:
        return None
    return _told(f"the container {one['name']!r} cannot start ({waiting['reason']})", waiting.get("message"))


def _last_end(one: Manifest) -> Manifest | None:
    """Return how a container ended last; None where it never did."""
    ended: Manifest | None = one.get("state", {}).get("terminated") or one.get("lastState", {}).get(
        "terminated"
    )
    return ended


def _end(pod: Manifest, one: Manifest, ended: Manifest) -> str:
    name = one["name"]
    if ended.get("reason") == "OOMKilled":
        limit = _memory(pod, name)
        return f"the container {name!r} was ended for its memory (OOMKilled): it may have {limit}"
    signal = ended["exitCode"] - 128
    how = f"signal {signal}" if signal > 0 else f"status {ended['exitCode']}"
    return _told(
        f"the container {name!r} ended with {how} ({ended.get('reason', 'Error')})", ended.get("message")
    )


def _memory(pod: Manifest, name: str) -> str:
    spec: Manifest = pod.get("spec", {})
    for one in (*spec.get("initContainers", ()), *spec.get("containers", ())):
        if one["name"] == name:
            return str(one.get("resources", {}).get("limits", {}).get("memory", "no more"))
    return "no more"


def _told(what: str, message: str | None) -> str:
    words = " ".join((message or "").split())[:_WORDS]
    return f"{what}: {words}" if words else what
