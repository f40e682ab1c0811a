"""Keeps pods that wait for runs: as many as the locations' bindings say, of what their latest runs were.

It is a part of the run watch, and keeps nothing that matters, either. Two of them may make too many for some seconds.
"""

import contextlib
import logging
import secrets
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from dagster import DagsterInstance, RunsFilter

from orchestrator_cluster.cluster_errors import ClusterAway
from orchestrator_cluster.lost_pods import Manifest
from orchestrator_cluster.podless_jobs import podless
from orchestrator_cluster.pods import Refused
from orchestrator_cluster.run_launcher import AgentRunLauncher
from orchestrator_cluster.warm_jobs import WARM_LABEL, WarmJob, warm_pods
from orchestrator_cluster.warm_plans import Wanted, WarmPod, warm_plan
from orchestrator_cluster.warm_shapes import shares

LOG: Final = logging.getLogger("orchestrator_cluster.warm_keeper")

YIELD_SECONDS: Final = 60.0
"""How long a run that waits for a node keeps other tenants from warm pods: what did not help by then, will not."""
REST_SECONDS: Final = 30.0
"""After a pod that could not be made or came to nothing; twice as long after each further one."""
_LONGEST_REST: Final = 600.0
_CLEAN_SECONDS: Final = 60.0


@dataclass(frozen=True)
class Waiting:
    """A run whose pod waits.

    Attributes:
        namespace: Where it is.
        for_node: Whether it waits for a node, which all tenants share, and not for its quota.
    """

    namespace: str
    for_node: bool


@dataclass(frozen=True)
class _Rest:
    """When the next pod of a kind is made, after one that came to nothing.

    Attributes:
        until: Unix time.
        seconds: How long the rest is.
    """

    until: float
    seconds: float


class WarmKeeper:
    """Makes and removes the warm pods of an instance.

    Args:
        instance: Of the runs.
        launcher: Whose pods they are.
        clock: Unix time.
    """

    def __init__(
        self, instance: DagsterInstance, launcher: AgentRunLauncher, clock: Callable[[], float] = time.time
    ) -> None:
        """Begin with no pod seen."""
        self._instance, self._launcher, self._clock = instance, launcher, clock
        self._waiting = dict[str, float]()
        self._rests = dict[str, _Rest]()
        self._told = dict[str, str]()
        self._cleaned = 0.0

    def look(self, waiting: Mapping[str, Waiting]) -> None:
        """Look once at all namespaces; one that cannot be looked at is no other's fault.

        Args:
            waiting: Runs that wait for room, by any name of theirs; they have it before warm pods do.
        """
        now = self._clock()
        self._waiting = {uid: self._waiting.get(uid, now) for uid in waiting}
        for namespace in self._launcher.namespaces:
            with self._bearing(namespace):
                self._look_at(namespace, now, yields=self._yields(namespace, waiting, now))
        warm = any(binding.warm.size for binding in self._launcher.bindings.locations.values())
        if warm and now >= self._cleaned + _CLEAN_SECONDS:
            with self._bearing("runs that are over"):
                self._clean()
            self._cleaned = now

    @contextlib.contextmanager
    def _bearing(self, what: str) -> Generator[None]:
        """Bear whatever goes wrong in a block, and tell of it once until it goes well again."""
        try:
            yield
        except Exception as error:  # the boundary of a loop: it looks again
            expected = isinstance(error, ClusterAway | Refused)
            self._tell(what, f"{type(error).__name__}: {error}", exc_info=not expected)
        else:
            self._told.pop(what, None)

    def _yields(self, namespace: str, waiting: Mapping[str, Waiting], now: float) -> bool:
        return any(
            one.namespace == namespace or (one.for_node and now < self._waiting[uid] + YIELD_SECONDS)
            for uid, one in waiting.items()
        )

    def _look_at(self, namespace: str, now: float, *, yields: bool) -> None:
        launcher = self._launcher
        kinds, wanted = self._wanted(namespace)
        jobs = launcher.warm_jobs(namespace)
        claims = launcher.warm.claims.of(namespace) if jobs or wanted else {}
        if not jobs and not wanted and not claims:
            return
        pods = [pod for pod in launcher.run_pods(namespace) if WARM_LABEL in pod["metadata"]["labels"]]
        found = warm_pods(jobs, pods, self._refused(namespace, jobs, pods), claims)
        self._rest(found, now)
        resting = {digest for digest, rest in self._rests.items() if now < rest.until}
        plan = warm_plan({} if yields else wanted, found, now, resting)
        for pod in plan.remove:
            # a run that has it by now keeps it
            if launcher.warm.claims.close(namespace, pod.job):
                launcher.remove_job(namespace, pod.job)
        for digest in plan.make:
            name = f"dagster-warm-{secrets.token_hex(10)}"
            launcher.make_job(namespace, kinds[digest].manifest(launcher, name))
        there = {pod.job for pod in found} | {str(pod["metadata"]["labels"].get("job-name")) for pod in pods}
        for job in claims.keys() - there:
            launcher.warm.claims.forget(namespace, job)

    def _refused(self, namespace: str, jobs: Sequence[Manifest], pods: Sequence[Manifest]) -> dict[str, str]:
        """Return why jobs have no pod, by their names, as far as the cluster told."""
        without = podless(jobs, pods)
        told = self._launcher.refused(namespace) if without else {}
        return {
            str(job["metadata"]["name"]): told[job["metadata"]["uid"]]
            for job in without
            if job["metadata"]["uid"] in told
        }

    def _wanted(self, namespace: str) -> tuple[dict[str, WarmJob], dict[str, Wanted]]:
        """Return the kinds of pods that a namespace is to have, and how many of each, by their digests."""
        kinds, wanted = dict[str, WarmJob](), dict[str, Wanted]()
        for location, binding in self._launcher.bindings.locations.items():
            if binding.namespace != namespace or not binding.warm.size:
                continue
            shapes = self._launcher.warm.shapes.of(location)
            for shape, count in zip(shapes, shares(shapes, binding.warm.size), strict=False):
                try:
                    kind = self._launcher.warm_job(location, shape)
                except Refused as error:  # what its runs were it may not have any more
                    self._tell(location, str(error))
                    continue
                kinds[kind.digest] = kind
                wanted[kind.digest] = Wanted(count=count, seconds=binding.warm.seconds)
        return kinds, wanted

    def _rest(self, found: list[WarmPod], now: float) -> None:
        """Make no pod for a while of a kind whose last one came to nothing, and say why."""
        for pod in found:
            if pod.state == "waiting":
                self._rests.pop(pod.digest, None)
                self._told.pop(pod.digest, None)
        for pod in found:
            if pod.state == "starting" and pod.lost is not None:
                before = self._rests.get(pod.digest)
                seconds = REST_SECONDS if before is None else min(_LONGEST_REST, before.seconds * 2)
                self._rests[pod.digest] = _Rest(until=now + seconds, seconds=seconds)
                self._tell(pod.digest, f"no warm pod in {pod.namespace!r}: {pod.lost}")

    def _clean(self) -> None:
        """Forget the launches of runs that are over, or gone."""
        starts = self._launcher.warm.starts
        known = starts.known()
        if not known:
            return
        works = {
            run.run_id for run in self._instance.get_runs(RunsFilter(run_ids=known)) if not run.is_finished
        }
        for run_id in set(known) - works:
            starts.forget(run_id)

    def _tell(self, about: str, words: str, *, exc_info: bool = False) -> None:
        """Say something once until it changes."""
        if self._told.get(about) != words:
            self._told[about] = words
            LOG.warning("warm pods of %s: %s", about, words, exc_info=exc_info)
