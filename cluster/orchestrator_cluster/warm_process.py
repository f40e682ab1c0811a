"""The process of a warm pod: loads everything that a run needs, waits for one, executes it, and ends.

It does what the container of a run would do, but for the wait. It has no rights on the cluster: whose it is stands in
Dagster's database (`warm_claims.py`), which a run has in any case.
"""

import asyncio
import logging
import signal
import sys
import time
from types import FrameType
from typing import Final

from dagster import DagsterInstance, DagsterRun, DagsterRunStatus
from sqlalchemy.exc import DBAPIError

from orchestrator_cluster.instance_values import InstanceValues
from orchestrator_cluster.run_internals import execute, open_instance, same_repository
from orchestrator_cluster.run_starts import RunStarts
from orchestrator_cluster.run_tags import location_of
from orchestrator_cluster.step_forks import fork_steps, forks_begin, load_definitions
from orchestrator_cluster.warm_claims import WarmClaims
from orchestrator_cluster.warm_specs import WarmSpec
from orchestrator_resources.homes import guests_folder
from orchestrator_runtimes.guest_server_connections import connect
from orchestrator_runtimes.guest_server_messages import server_socket

LOG: Final = logging.getLogger("orchestrator_cluster.warm_process")

_PERIOD_SECONDS: Final = 0.05
_CONNECTION_SECONDS: Final = 30.0
"""How long one connection to the database is used."""
_AWAY_SECONDS: Final = 120.0
"""How long the database may be away; then there may be no platform any more that would remove this pod."""
_OVERDUE: Final = 1.5
"""Of the age at which a keeper removes it: so old it only becomes where there is none."""


class WarmProcess:
    """Waits for the run of one pod.

    Args:
        spec: What it is.
        instance: Of its run.
    """

    def __init__(self, spec: WarmSpec, instance: DagsterInstance) -> None:
        """Begin to listen to SIGTERM, which the first process of a container else ignores."""
        self._spec, self._instance = spec, instance
        values = InstanceValues(instance)
        self._claims, self._starts = WarmClaims(values), RunStarts(values)
        self._began = time.monotonic()
        self._told_to_end = False
        signal.signal(signal.SIGTERM, self._end)

    def serve(self) -> int:
        """Load everything, wait for a run and execute it; return the exit status."""
        self._load()
        spec = self._spec
        if self._told_to_end or not self._claims.offer(spec.namespace, spec.job):
            return 0
        LOG.info("ready after %.1f s", time.monotonic() - self._began)
        run_id = self._wait()
        return 0 if run_id is None else self._execute(run_id)

    def _load(self) -> None:
        # what the run would set after it was launched, forks have to have before
        self._instance.inject_env_vars(self._spec.location)
        fork_steps(self._spec.repository, self._spec.instance)
        load_definitions(self._spec.repository)
        forks_begin()
        asyncio.run(_guest_servers_listen())

    def _wait(self) -> str | None:
        """Return the run that has this pod; None where it is to end without one."""
        seen = time.monotonic()
        while True:
            try:
                with self._claims.reading(self._spec.namespace, self._spec.job) as read:
                    fresh = time.monotonic() + _CONNECTION_SECONDS
                    while (now := time.monotonic()) < fresh:
                        claim = read()
                        seen = now
                        if claim.state != "waiting":
                            return claim.run_id
                        overdue = now - self._began > self._spec.seconds * _OVERDUE
                        if (self._told_to_end or overdue) and self._claims.close(
                            self._spec.namespace, self._spec.job
                        ):
                            return None
                        time.sleep(_PERIOD_SECONDS)
            except DBAPIError as error:
                LOG.warning("the database does not answer: %s", type(error).__name__)
                if self._told_to_end or time.monotonic() - seen > _AWAY_SECONDS:
                    return None
                time.sleep(1)

    def _execute(self, run_id: str) -> int:
        run = self._instance.get_run_by_id(run_id)
        if run is None:
            LOG.error("the run %s is not there", run_id)
            return 1
        if not self._starts.take_up(run_id, self._spec.job):
            LOG.warning("the run %s is launched elsewhere by now", run_id)
            return 0
        if wrong := not_for(run, self._spec):
            self._instance.report_run_failed(run, f"The run was given to a pod that is not for it: {wrong}.")
            return 1
        if self._told_to_end:
            if run.status is DagsterRunStatus.CANCELING:
                self._instance.report_run_canceled(run, "The run was canceled before it began.")
            return 1
        words = f"The run begins in a pod that waited for it, of the job {self._spec.job!r}."
        self._instance.report_engine_event(words, run, cls=type(self))
        return execute(self._instance, run_id, fail=self._spec.fail_pod, ended=lambda: self._told_to_end)

    def _end(self, _number: int, _frame: FrameType | None) -> None:
        self._told_to_end = True


def not_for(run: DagsterRun, spec: WarmSpec) -> str | None:
    """Return why a pod must not execute a run, in one line; None where it may."""
    location = location_of(run)
    if location != spec.location:
        return f"it is of the code location {location!r}, and the pod is for {spec.location!r}"
    if not same_repository(run, spec.repository):
        return "its definitions are other ones than those that the pod has loaded"
    return None


async def _guest_servers_listen() -> None:
    """Wait until the guest servers of this pod can be reached.

    Raises:
        AgentError: `runtime_crashed` when one cannot.
    """
    folder = guests_folder()
    if folder is None or not folder.is_dir():
        return  # there are none
    for server in sorted(folder.iterdir()):
        (await connect(server.name, server_socket(server))).close()


def main() -> int:
    """Run the command line and return its exit status."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    spec = WarmSpec.parse(sys.argv[1])
    with open_instance(spec.instance) as instance:
        return WarmProcess(spec, instance).serve()
