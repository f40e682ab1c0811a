"""Giving a code location another image: its code server alone is replaced, and stays where the new one does not serve.

Kubernetes does the replacing; what is added is the wait, the reason where it fails, and the way back.
"""

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

from orchestrator_cluster.cluster_errors import ClusterAway
from orchestrator_cluster.lost_pods import Manifest, failure_of

LOCATION_LABEL: Final = "orchestrator/location"
CONTAINER: Final = "code-server"
IMAGE_VARIABLE: Final = "DAGSTER_CURRENT_IMAGE"
"""Tells Dagster which image runs of the location have."""

SECONDS: Final = 120.0
"""How long a new code server may take to serve."""

_LOCATION: Final = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_PERIOD_SECONDS: Final = 0.25
_BACK_SECONDS: Final = 60.0
_TRIES: Final = 5
_CAUSE: Final = "kubernetes.io/change-cause"


class DeployFailed(Exception):
    """The location has the image that it had; the text says why."""


class DeploymentChanged(Exception):
    """Somebody changed the deployment since it was read."""


class CodeServers(Protocol):
    """What a deploy asks of a cluster. Each method may raise `ClusterAway`."""

    def find(self, location: str, namespace: str | None) -> list[Manifest]:
        """Return the deployments of a location's code server, in a namespace, or where None in any."""
        ...

    def read(self, namespace: str, name: str) -> Manifest:
        """Return a deployment as it is now."""
        ...

    def patch(self, namespace: str, name: str, body: Mapping[str, Any]) -> Manifest:
        """Change a deployment (strategic merge) and return it.

        Raises:
            DeploymentChanged: `body` names a version that it no longer has.
        """
        ...

    def pods(self, namespace: str, labels: Mapping[str, str]) -> list[Manifest]:
        """Return the pods with labels."""
        ...

    def last_words(self, namespace: str, pod: str) -> str:
        """Return the end of what a pod's code server said; empty where there is nothing."""
        ...


@dataclass(frozen=True, kw_only=True)
class Deployed:
    """A deploy that went well.

    Attributes:
        before: The image that the location had.
        seconds: From the change until the new code server served alone.
    """

    before: str
    seconds: float


def deploy(
    servers: CodeServers,
    location: str,
    image: str,
    tell: Callable[[str], None],
    *,
    namespace: str | None = None,
    seconds: float = SECONDS,
) -> Deployed:
    """Give a location another image, and wait until its code server serves from it.

    Args:
        servers: The cluster.
        location: Name of the code location.
        image: Whole name of the image.
        tell: Takes a line of progress.
        namespace: Where the code server is; None looks everywhere, which needs the rights.
        seconds: How long the new one may take.

    Raises:
        DeployFailed: There is no such location, it has the image already, or the new code server does not serve.
        ClusterAway: The API server did not answer before anything was changed.
    """
    found = servers.find(location, namespace)
    if len(found) != 1:
        there = ", ".join(sorted(one["metadata"]["namespace"] for one in found)) or "none"
        raise DeployFailed(
            f"the code location {location!r} must have one code server, and has it in the namespaces: {there};"
            " name the namespace, or have the operator add the location to the chart's values"
        )
    where, name = found[0]["metadata"]["namespace"], found[0]["metadata"]["name"]
    if image_of(found[0]) == image:
        raise DeployFailed(
            f"the location has the image {image} already: what was pushed under the same name needs another tag, or its"
            " digest"
        )
    before, generation = _change(servers, where, name, image)
    tell(f"{location}: {before} -> {image}")
    began = time.monotonic()
    try:
        _wait(servers, where, name, image, generation, began + seconds, tell)
    except _DoesNotServe as error:
        tell(f"{location}: back to {before}")
        there = _go_back(servers, where, name, image, before)
        raise DeployFailed(f"{error}; the location has {there}") from error
    return Deployed(before=before, seconds=time.monotonic() - began)


class _DoesNotServe(Exception):
    """The new code server does not; the text says why."""


def check_name(location: str) -> None:
    """Refuse a name that no code location has.

    Raises:
        DeployFailed: It is none.
    """
    if not _LOCATION.fullmatch(location):
        raise DeployFailed(
            f"{location[:80]!r} is no name of a code location on a cluster: a-z, 0-9 and hyphens"
        )


def image_of(deployment: Manifest) -> str:
    """Return the image of a code server.

    Raises:
        DeployFailed: The deployment has none.
    """
    for container in deployment["spec"]["template"]["spec"]["containers"]:
        if container["name"] == CONTAINER:
            return str(container["image"])
    raise DeployFailed(f"the deployment {deployment['metadata']['name']!r} has no container {CONTAINER!r}")


def change_of(deployment: Manifest, image: str) -> dict[str, Any]:
    """Return the patch that gives a deployment another image, if nobody has changed it since it was read."""
    version = deployment["metadata"]["resourceVersion"]
    container = {"name": CONTAINER, "image": image, "env": [{"name": IMAGE_VARIABLE, "value": image}]}
    return {
        "metadata": {
            "resourceVersion": version,
            "annotations": {_CAUSE: f"orchestrator deploy {image}"},
        },
        "spec": {"template": {"spec": {"containers": [container]}}},
    }


def _change(servers: CodeServers, namespace: str, name: str, image: str) -> tuple[str, int]:
    """Set the image; return the one before, and the generation that the change made."""
    for _ in range(_TRIES):
        deployment = servers.read(namespace, name)
        before = image_of(deployment)
        try:
            changed = servers.patch(namespace, name, change_of(deployment, image))
        except DeploymentChanged:
            continue  # most often its status alone
        return before, changed["metadata"]["generation"]
    raise DeployFailed(f"others change the deployment {name!r} all the time; deploy again when they are done")


def _go_back(servers: CodeServers, namespace: str, name: str, image: str, before: str) -> str:
    """Set the image that was there, unless somebody else has set another one since; return the one that is there."""
    until = time.monotonic() + _BACK_SECONDS
    while True:
        try:
            deployment = servers.read(namespace, name)
            if image_of(deployment) != image:
                return image_of(deployment)
            servers.patch(namespace, name, change_of(deployment, before))
            return before
        except (DeploymentChanged, ClusterAway) as error:
            if time.monotonic() > until:
                raise DeployFailed(
                    f"the deployment {name!r} cannot be given back its image: {error}; it has {image}, which does not"
                    f" serve, and had {before}: deploy that one when the cluster answers"
                ) from error
            time.sleep(_PERIOD_SECONDS)


def _wait(
    servers: CodeServers,
    namespace: str,
    name: str,
    image: str,
    generation: int,
    until: float,
    tell: Callable[[str], None],
) -> None:
    told = ""
    while True:
        try:
            deployment = servers.read(namespace, name)
            if image_of(deployment) != image:
                raise DeployFailed(f"somebody else has deployed {image_of(deployment)} meanwhile")
            if serves(deployment, generation):
                return
            now = _look(servers, deployment, image)
        except ClusterAway as error:
            now = f"the cluster does not answer: {error}"
        if now != told:
            tell(f"  {now}")
            told = now
        if time.monotonic() > until:
            raise _DoesNotServe(f"the new code server does not serve in time: {now}")
        time.sleep(_PERIOD_SECONDS)


def _look(servers: CodeServers, deployment: Manifest, image: str) -> str:
    """Return how far the new code server is.

    Raises:
        _DoesNotServe: It will not.
        ClusterAway: It cannot be told.
    """
    namespace = deployment["metadata"]["namespace"]
    pods = servers.pods(namespace, deployment["spec"]["selector"]["matchLabels"])
    for pod in (one for one in pods if _is_of(one, image)):
        why = failure_of(pod, CONTAINER)
        if why is not None:
            words = servers.last_words(namespace, pod["metadata"]["name"])
            raise _DoesNotServe(f"{why}; it said last:\n{words}\n" if words else why)
    return _progress(pods, image)


def serves(deployment: Manifest, generation: int) -> bool:
    """Return whether a deployment has done what a change asked for: the new pods serve, the old are gone."""
    wanted, status = deployment["spec"].get("replicas", 1), deployment.get("status", {})
    counts = (status.get(count, 0) for count in ("replicas", "updatedReplicas", "availableReplicas"))
    return status.get("observedGeneration", 0) >= generation and all(count == wanted for count in counts)


def _is_of(pod: Manifest, image: str) -> bool:
    """Return whether a pod has the image and is there to stay."""
    return not pod["metadata"].get("deletionTimestamp") and any(
        one["name"] == CONTAINER and one["image"] == image for one in pod["spec"]["containers"]
    )


def _progress(pods: list[Manifest], image: str) -> str:
    new = [pod for pod in pods if _is_of(pod, image)]
    if not new:
        return "the new code server is not made yet"
    statuses = [one for pod in new for one in pod.get("status", {}).get("containerStatuses") or ()]
    if any(one.get("ready") for one in statuses):
        return "the new code server serves, the old one ends"
    if any(one.get("state", {}).get("running") for one in statuses):
        return "the new code server starts"
    waiting = [one.get("state", {}).get("waiting", {}).get("reason") for one in statuses]
    return f"the new code server is made ({waiting[0]})" if waiting and waiting[0] else "it gets a node"
