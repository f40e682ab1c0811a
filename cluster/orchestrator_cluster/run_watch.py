"""Ends runs whose pod can do them no more, within seconds and with the reason.

`python -m orchestrator_cluster.run_watch` is one process for an instance, beside the daemon, with the daemon's rights.
It asks again and again what there is, and keeps nothing that matters: it may be killed and started at any time, and two
of them do no harm.
"""

import argparse
import logging
import signal
import sys
import threading
from types import FrameType
from typing import Final

from dagster import DagsterInstance, DagsterRun, DagsterRunStatus

from orchestrator_cluster.cluster_errors import ClusterAway
from orchestrator_cluster.lost_pods import Manifest, loss_of, wait_of
from orchestrator_cluster.run_jobs import RUN_LABEL
from orchestrator_cluster.run_launcher import AgentRunLauncher

LOG: Final = logging.getLogger("orchestrator_cluster.run_watch")
PERIOD_SECONDS: Final = 2.0


class RunWatch:
    """Looks at the pods of all runs.

    Args:
        instance: Where the runs are told to have failed.
        launcher: Whose pods they are.
    """

    def __init__(self, instance: DagsterInstance, launcher: AgentRunLauncher) -> None:
        """Begin with nothing seen."""
        self._instance = instance
        self._launcher = launcher
        self._done = set[str]()
        self._told = dict[str, str]()

    def look(self) -> None:
        """Look once, and end what is lost.

        Raises:
            ClusterAway: The API server does not answer.
        """
        there = set[str]()
        for namespace in self._launcher.namespaces:
            for pod in self._launcher.run_pods(namespace):
                there.add(pod["metadata"]["uid"])
                self._judge(pod)
        self._done &= there
        self._told = {uid: wait for uid, wait in self._told.items() if uid in there}

    def _judge(self, pod: Manifest) -> None:
        uid, run_id = pod["metadata"]["uid"], pod["metadata"]["labels"].get(RUN_LABEL)
        if run_id is None or uid in self._done:
            return
        loss, wait = loss_of(pod), wait_of(pod)
        if loss is not None:
            self._end(run_id, pod, loss)
            self._done.add(uid)
        elif wait is not None and self._told.get(uid) != wait:
            self._told[uid] = wait
            run = self._instance.get_run_by_id(run_id)
            if run is not None and _works(run):
                self._instance.report_engine_event(wait, run, cls=type(self))

    def _end(self, run_id: str, pod: Manifest, loss: str) -> None:
        run = self._instance.get_run_by_id(run_id)
        if run is None:
            return  # of another instance
        if _works(run):
            LOG.warning("run %s: %s", run_id, loss)
            # first told, then ended: what the run says while it ends must not hide the reason
            self._instance.report_run_failed(run, f"The run cannot go on: {loss}.")
        if pod["status"].get("phase") != "Failed":
            self._launcher.remove_job(run)


def _works(run: DagsterRun) -> bool:
    """Return whether a run is neither over nor being ended by somebody."""
    return not run.is_finished and run.status is not DagsterRunStatus.CANCELING


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
    watching = RunWatch(instance, launcher)
    LOG.info("watching the pods of runs in %s", ", ".join(launcher.namespaces))
    while not stopped.wait(period):
        try:
            watching.look()
        except ClusterAway as error:
            LOG.warning("the API server does not answer; asking again: %s", error)
        except Exception:  # the boundary of a loop: the database may be away, too
            LOG.exception("this look failed; looking again")


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
