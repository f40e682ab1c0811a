"""Which warm pods are made and which removed, as pure functions of what there is."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from orchestrator_cluster.warm_claims import State

AT_ONCE: Final = 2
"""Most pods of a namespace that start at the same time: each takes seconds of a core that runs want, too."""


@dataclass(frozen=True, kw_only=True)
class WarmPod:
    """A job whose pod was made to wait for a run.

    Attributes:
        namespace: Where it is.
        job: Its name.
        digest: Of its manifest.
        made: When; Unix time.
        state: Whose it is.
        lost: Why it can serve no run, such as that it ended; None where it can.
    """

    namespace: str
    job: str
    digest: str
    made: float
    state: State
    lost: str | None = None


@dataclass(frozen=True, kw_only=True)
class WarmPlan:
    """What to do in one namespace.

    Attributes:
        make: Digest of each pod to be made.
        remove: What to remove.
    """

    make: Sequence[str] = ()
    remove: Sequence[WarmPod] = ()


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """How many pods of one manifest are kept.

    Attributes:
        count: So many.
        seconds: How old one may become.
    """

    count: int
    seconds: float


_NONE: Final = Wanted(count=0, seconds=0)


def warm_plan(
    wanted: Mapping[str, Wanted], pods: Sequence[WarmPod], now: float, resting: Collection[str] = ()
) -> WarmPlan:
    """Return what brings a namespace's pool to what is wanted.

    Args:
        wanted: By the digest of the manifest; what is wanted most comes first.
        pods: What there is.
        now: Unix time.
        resting: Digests of which none is made now.
    """
    ours = [pod for pod in pods if pod.state != "claimed"]  # a claimed one is its run's
    kept, remove = Counter[str](), list[WarmPod]()
    # those that wait are kept before those that start, and then the youngest
    for pod in sorted(ours, key=lambda pod: (pod.state != "waiting", -pod.made, pod.job)):
        want = wanted.get(pod.digest, _NONE)
        good = pod.state != "closed" and pod.lost is None and now - pod.made < want.seconds
        if good and kept[pod.digest] < want.count:
            kept[pod.digest] += 1
        else:
            remove.append(pod)
    missing = [
        digest
        for digest, want in wanted.items()
        for _ in range(want.count - kept[digest])
        if digest not in resting
    ]
    removed = {pod.job for pod in remove}
    starting = sum(pod.state == "starting" and pod.job not in removed for pod in ours)
    return WarmPlan(make=missing[: max(0, AT_ONCE - starting)], remove=remove)
