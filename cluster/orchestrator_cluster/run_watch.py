"""Ends runs whose pod can do them no more, within seconds and with the reason; queues again whose start was lost.

`python -m orchestrator_cluster.run_watch` is one process for an instance, beside the daemon, with the daemon's rights.
It asks again and again what there is, and keeps nothing that matters: it may be killed and started at any time, and two
of them do no harm.
"""

import argparse
import contextlib
import logging
import signal
import sys
import threading
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass
from types import FrameType
from typing import Final

from dagster import DagsterEventType, DagsterInstance, DagsterRun, DagsterRunStatus

from orchestrator_cluster.cluster_errors import ClusterAway
from orchestrator_cluster.lost_pods import (
    ENDED,
    TAKEN_AWAY,
    Manifest,
    is_ended_from_outside,
    is_rejected,
    job_of,
    loss_of,
    wait_of,
    waits,
)
from orchestrator_cluster.lost_starts import LostStarts
from orchestrator_cluster.podless_jobs import podless, taken_away
from orchestrator_cluster.pods import Refused
from orchestrator_cluster.run_health import works
from orchestrator_cluster.run_jobs import RUN_LABEL
from orchestrator_cluster.run_launcher import AgentRunLauncher
from orchestrator_cluster.warm_jobs import WARM_LABEL
from orchestrator_cluster.warm_keeper import Waiting, WarmKeeper

LOG: Final = logging.getLogger("orchestrator_cluster.run_watch")
PERIOD_SECONDS: Final = 2.0
TELL_SECONDS: Final = 60.0
"""Between two lines in a run's log of why it waits: a scheduler finds other words whenever a node changes."""


@dataclass
class _Seen:
    """What is remembered of a pod, or of a job without one.

    Attributes:
        namespace: Where it is.
        done: Whether it was ended.
        told: What was last told of why it waits; empty for nothing.
        told_at: When, on the watch's clock.
    """

    namespace: str
    done: bool = False
    told: str = ""
    told_at: float = 0.0


class RunWatch:
    """Looks at the pods of all runs, and at their jobs that have none.

    Args:
        instance: Where the runs are told to have failed.
        launcher: Whose pods they are.
        clock: Seconds that only grow.
    """

    def __init__(
        self,
        instance: DagsterInstance,
        launcher: AgentRunLauncher,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Begin with nothing seen."""
        self._instance = instance
        self._launcher = launcher
        self._clock = clock
        self._seen = dict[str, _Seen]()
        self._faults = dict[str, str]()
        self._looked_at = set[str]()
        self._jobs = dict[str, set[str]]()  # names by namespace, as far as they could be listed
        self._lost_starts = LostStarts(instance, clock)
        self.waiting = dict[str, Waiting]()
        """What waited at the last look, by the uid of the pod, or of the job without one."""

    def look(self) -> None:
        """Look once, and end what is lost; a namespace or a pod that cannot be looked at is no other's fault."""
        there, unseen = set[str](), set[str]()
        self._looked_at.clear()
        self._jobs.clear()
        self.waiting.clear()
        for namespace in self._launcher.namespaces:
            what = f"the namespace {namespace!r}"
            with self._bearing(what):
                self._look_at(namespace, there)
            if what in self._faults:
                unseen.add(namespace)
        overdue = list[str]()
        with self._bearing("what starts"):
            overdue += self._lost_starts.overdue(self._jobs, self._launcher.place_of)
        for run_id in overdue:
            with self._bearing(f"the start of run {run_id}"):
                launcher = self._launcher
                self._lost_starts.settle(run_id, launcher.place_of, launcher.job_of_run, launcher.take_back)
        self._seen = {
            uid: seen for uid, seen in self._seen.items() if uid in there or seen.namespace in unseen
        }
        self._faults = {what: kind for what, kind in self._faults.items() if what in self._looked_at}

    def _look_at(self, namespace: str, there: set[str]) -> None:
        pods = self._launcher.run_pods(namespace)
        for pod in pods:
            there.add(pod["metadata"]["uid"])
            with self._bearing(f"the pod {pod['metadata']['name']!r} in {namespace!r}"):
                self._judge(namespace, pod)
        jobs = self._launcher.run_jobs(namespace)
        self._jobs[namespace] = {job["metadata"]["name"] for job in jobs}
        for job, why in ((job, taken_away(job)) for job in jobs):
            if why is not None:
                there.add(job["metadata"]["uid"])
                with self._bearing(f"the job {job['metadata']['name']!r} in {namespace!r}"):
                    self._end_podless(namespace, job, why)
        without = podless(jobs, pods)
        refused = self._launcher.refused(namespace) if without else {}
        for job in without:
            there.add(job["metadata"]["uid"])
            with self._bearing(f"the job {job['metadata']['name']!r} in {namespace!r}"):
                why = refused.get(job["metadata"]["uid"])
                self._wait(namespace, job, job["metadata"]["name"], why, for_node=False)

    def _judge(self, namespace: str, pod: Manifest) -> None:
        loss = loss_of(pod)
        if loss is not None:
            self._end(namespace, pod, loss)
        elif waits(pod):
            self._wait(namespace, pod, job_of(pod), wait_of(pod), for_node=True)

    def _end(self, namespace: str, pod: Manifest, loss: str) -> None:
        seen, job = self._see(namespace, pod), job_of(pod)
        if seen.done or job is None:
            return
        run = self._run(namespace, pod, job)
        if run is None:
            return
        if is_rejected(pod) and run.status is DagsterRunStatus.STARTING:
            self._instance.report_engine_event(f"The run's job starts anew: {loss}.", run, cls=type(self))
            self._launcher.remove_job(namespace, job)  # a start without a job is lost, and queued again
            seen.done = True
            return
        # first told, then ended: what the run says while it ends must not hide the reason
        self._tell(run, loss, from_outside=is_ended_from_outside(pod))
        if pod["status"].get("phase") != "Failed":
            self._launcher.remove_job(namespace, job)
        seen.done = True

    def _end_podless(self, namespace: str, job: Manifest, loss: str) -> None:
        """Tell of a pod that went before anybody saw why."""
        seen = self._see(namespace, job)
        run = None if seen.done else self._run(namespace, job, job["metadata"]["name"])
        if run is not None:
            self._tell(run, loss, from_outside=True)
            seen.done = True

    def _tell(self, run: DagsterRun, loss: str, *, from_outside: bool) -> None:
        """Fail a run with the reason; add it where the run was faster, and only knows that it was interrupted."""
        if works(run):
            LOG.warning("run %s: %s", run.run_id, loss)
            self._instance.report_run_failed(run, f"The run cannot go on: {loss}.")
        elif run.status is DagsterRunStatus.FAILURE and from_outside and not self._is_told(run):
            self._instance.report_engine_event(f"Why the run was interrupted: {loss}.", run, cls=type(self))

    def _wait(
        self, namespace: str, one: Manifest, job: str | None, why: str | None, *, for_node: bool
    ) -> None:
        """Tell of a pod, or of a job without one, why it waits; remove it where nobody waits for it any more."""
        seen = self._see(namespace, one)
        if seen.done or job is None:
            return
        run = self._run(namespace, one, job)
        if run is None:
            return
        if run.is_finished:  # given up before it began; it would take what others wait for
            LOG.warning("run %s is over, and its job has not begun: removing it", run.run_id)
            self._launcher.remove_job(namespace, job)
            seen.done = True
            return
        now = self._clock()
        if why is None or not works(run):
            return
        self.waiting[one["metadata"]["uid"]] = Waiting(namespace, for_node)
        if why == seen.told:
            return
        if not seen.told or now >= seen.told_at + TELL_SECONDS:
            seen.told, seen.told_at = why, now
            self._instance.report_engine_event(why, run, cls=type(self))

    def _run(self, namespace: str, one: Manifest, job: str) -> DagsterRun | None:
        """Return the run that a pod or a job was made for; None where it is of another instance, or pretends."""
        labels = one["metadata"]["labels"]
        run_id = labels.get(RUN_LABEL)
        if WARM_LABEL in labels:  # made for nobody, and labelled later, if at all
            run_id = self._launcher.warm.claims.run_of(namespace, job)
        run = None if run_id is None else self._instance.get_run_by_id(run_id)
        return run if run is not None and self._launcher.is_job_of(run, namespace, job) else None

    def _is_told(self, run: DagsterRun) -> bool:
        logs = self._instance.all_logs(
            run.run_id, of_type={DagsterEventType.ENGINE_EVENT, DagsterEventType.RUN_FAILURE}
        )
        return any(words in entry.message for entry in logs for words in (TAKEN_AWAY, ENDED))

    def _see(self, namespace: str, one: Manifest) -> _Seen:
        return self._seen.setdefault(one["metadata"]["uid"], _Seen(namespace))

    @contextlib.contextmanager
    def _bearing(self, what: str) -> Generator[None]:
        """Bear whatever goes wrong in a block, and tell of it once until it goes well again."""
        self._looked_at.add(what)
        try:
            yield
        except Exception as error:  # the boundary of a loop: it looks again
            kind = type(error).__name__
            if self._faults.get(what) != kind:
                self._faults[what] = kind
                expected = isinstance(error, ClusterAway | Refused)
                LOG.warning("%s cannot be looked at, now and again: %s", what, error, exc_info=not expected)
        else:
            self._faults.pop(what, None)


def watch(instance: DagsterInstance, stopped: threading.Event, period: float = PERIOD_SECONDS) -> None:
    """Look until told to stop.

    Raises:
        SystemExit: The instance launches no runs as pods.
    """
    launcher = instance.run_launcher
    if not isinstance(launcher, AgentRunLauncher):
        sys.exit(
            f"the run launcher of this instance is {type(launcher).__name__}: there is nothing to watch;"
            " set orchestrator_cluster.run_launcher.AgentRunLauncher in dagster.yaml"
        )
    watching, keeping = RunWatch(instance, launcher), WarmKeeper(instance, launcher)
    LOG.info("watching the pods of runs in %s", ", ".join(launcher.namespaces))
    while not stopped.wait(period):
        watching.look()
        keeping.look(watching.waiting)


def main() -> int:
    """Run the command line and return its exit status."""
    parser = argparse.ArgumentParser(prog="orchestrator_cluster.run_watch", description=__doc__)
    parser.add_argument(
        "--period", type=float, default=PERIOD_SECONDS, help="seconds between looks; default 2"
    )
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    stopped = threading.Event()

    def stop(_number: int, _frame: FrameType | None) -> None:
        stopped.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    with DagsterInstance.get() as instance:
        watch(instance, stopped, options.period)
    return 0


if __name__ == "__main__":
    sys.exit(main())
