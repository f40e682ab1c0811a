"""Seam with Dagster: the daemon of its queue, with our order in place of its own. Checked against Dagster 1.13.27.

Of `QueuedRunCoordinatorDaemon`, only what picks the runs is replaced; launching them, and what follows from errors of
code locations, is Dagster's own.
"""
# Dagster's private modules are typed in part:
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

import functools
import logging
import re
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import Any, Final

from dagster import DagsterEvent, DagsterInstance, DagsterRun, DagsterRunStatus, RunsFilter
from dagster._core.instance.config import ConcurrencyConfig
from dagster._core.workspace.context import IWorkspaceProcessContext
from dagster._daemon.controller import create_daemon_of_type
from dagster._daemon.daemon import DagsterDaemon
from dagster._daemon.run_coordinator.queued_run_coordinator_daemon import QueuedRunCoordinatorDaemon

from orchestrator_tenancy.queue.decisions import Decision, Situation, decide
from orchestrator_tenancy.queue.launches import KnowsLaunches
from orchestrator_tenancy.queue.seam_coordinator import FairRunCoordinator
from orchestrator_tenancy.queue.seam_gates import StockGates
from orchestrator_tenancy.queue.seam_runs import QueueReader, Reading
from orchestrator_tenancy.queue.seam_sensors import WokenSensorDaemon

LOG: Final = logging.getLogger("orchestrator_tenancy.queue")
LOOK_BACK_SECONDS: Final = 3_600.0
"""How far back it is read what ended while no daemon was there: what was before counts nothing."""
NEW_PER_TICK: Final = 5_000
"""Most runs that a tick reads for the first time, about 0.1 ms each: a daemon may start over a long queue."""
TELLS_PER_TICK: Final = 10
"""Most lines that are written in a tick to logs of runs that wait: each is a transaction."""
TELL_SECONDS: Final = 0.1
"""How long lines are written in a tick before it ends: in SQLite each run's first line makes a database of its own,
which took 0.4 s on a busy machine, and nothing starts meanwhile."""
TELL_AFTER_SECONDS: Final = 10.0
"""How long a run waits before its log says why: most start sooner."""
TELL_AGAIN_SECONDS: Final = 60.0


class NoFairQueue(ValueError):
    """The instance has another run coordinator."""

    def __init__(self) -> None:
        """Say what to do."""
        super().__init__(
            "the instance has no fair queue: name FairRunCoordinator of orchestrator_tenancy.queue.seam_coordinator"
            " as `run_coordinator` in its dagster.yaml"
        )


def fair_coordinator(instance: DagsterInstance) -> FairRunCoordinator:
    """Return the coordinator of an instance.

    Raises:
        NoFairQueue: It has another one.
    """
    coordinator = instance.run_coordinator
    if not isinstance(coordinator, FairRunCoordinator):
        raise NoFairQueue
    return coordinator


def look(
    instance: DagsterInstance,
    reader: QueueReader,
    now: float,
    paused: Sequence[str] = (),
    most: int | None = None,
) -> tuple[Reading, Situation, Decision]:
    """Return what waits and runs now, and what is to be done; changes nothing."""
    coordinator = fair_coordinator(instance)
    shares, turns = coordinator.shares(), reader.turns()
    reading = reader.read(shares, max(turns.at, now - LOOK_BACK_SECONDS) if turns.at else 0)
    flows = {*reading.waiting, *turns.accounts, *(run.flow for run in reading.started)}
    situation = Situation(
        now=now,
        waiting=reading.waiting,
        started=reading.started,
        shares={flow: shares.share(flow) for flow in flows},
        capacity=coordinator.capacity(),
        turns=turns,
    )
    return reading, situation, decide(situation, StockGates(instance, reading, paused), most)


class FairQueueDaemon(QueuedRunCoordinatorDaemon):
    """Starts runs that wait, fairly over tenants.

    Args:
        seconds: Between two looks.
    """

    def __init__(self, seconds: int) -> None:
        """Begin with nothing seen."""
        self._reader: QueueReader | None = None
        self._last: tuple[Situation, Decision] | None = None
        self._told = dict[str, tuple[float, str]]()
        super().__init__(interval_seconds=seconds)

    def run_iteration(
        self,
        workspace_process_context: IWorkspaceProcessContext[Any],
        fixed_iteration_time: float | None = None,
    ) -> Generator[Any]:
        """Look once, and start what is to start; the first time, also take back what nobody started."""
        instance = workspace_process_context.instance
        if self._reader is None:
            take_back(instance)
            self._reader = QueueReader(instance, NEW_PER_TICK)
        yield from super().run_iteration(workspace_process_context, fixed_iteration_time)
        self._tell(instance)
        yield None

    def _get_runs_to_dequeue(
        self,
        instance: DagsterInstance,
        concurrency_config: ConcurrencyConfig,
        fixed_iteration_time: float | None,
    ) -> list[DagsterRun]:
        now = fixed_iteration_time or time.time()
        with self._location_timeouts_lock:
            paused = [location for location, until in self._location_timeouts.items() if until > now]
        self._reader = self._reader or QueueReader(instance, NEW_PER_TICK)
        most = fair_coordinator(instance).starts_per_tick
        reading, situation, decision = look(instance, self._reader, now, paused, most)
        self._last = situation, decision
        if reading.waiting or reading.started:
            self._reader.write_turns(decision.turns)
        return [reading.queued[run.id] for run in decision.starts]

    def _tell(self, instance: DagsterInstance) -> None:
        """Write into the logs of a few runs why they wait, where that was not said yet."""
        if self._last is None:
            return
        situation, decision = self._last
        left, until = TELLS_PER_TICK, time.monotonic() + TELL_SECONDS
        over = {run.id for run in decision.starts}
        there = {run.id for runs in situation.waiting.values() for run in runs} - over
        self._told = {name: told for name, told in self._told.items() if name in there}
        for run in (run for runs in situation.waiting.values() for run in runs):
            if not left or time.monotonic() > until:
                return
            at, before = self._told.get(run.id, (0.0, ""))
            if (
                run.id in over
                or situation.now - max(at + TELL_AGAIN_SECONDS, run.since + TELL_AFTER_SECONDS) < 0
            ):
                continue
            why = decision.why(run)
            if (kind := _without_numbers(why)) != before:
                left -= 1
                self._told[run.id] = situation.now, kind
                self._write(instance, run.id, why)

    def _write(self, instance: DagsterInstance, run_id: str, why: str) -> None:
        run = instance.get_run_by_id(run_id)
        if run is not None and run.status is DagsterRunStatus.QUEUED:
            instance.report_engine_event(f"The run waits: {why}.", run)


@functools.lru_cache(1_024)
def _without_numbers(text: str) -> str:
    return re.sub(r"[0-9.]+", "#", text)


def take_back(instance: DagsterInstance) -> None:
    """Put runs back into the queue that an earlier daemon was about to start when it ended, and that nobody does.

    Where the launcher cannot tell, they are left to the monitoring of runs.
    """
    launcher: object = instance.run_launcher
    if not isinstance(launcher, KnowsLaunches):
        return
    for run in instance.get_runs(RunsFilter(statuses=[DagsterRunStatus.STARTING])):
        try:
            launched = launcher.was_launched(run)
        except Exception as error:  # whatever a launcher raises is about one run
            LOG.warning("run %s: it is not known whether it was started: %s", run.run_id, error)
            continue
        # it may have begun since it was read
        now = instance.get_run_by_id(run.run_id)
        if not launched and now is not None and now.status is DagsterRunStatus.STARTING:
            instance.report_engine_event("The daemon ended before it started the run: it waits again.", run)
            instance.report_dagster_event(DagsterEvent.job_enqueue(run), run_id=run.run_id)


def daemons(
    instance: DagsterInstance, follow: Callable[[WokenSensorDaemon], object] = lambda _sensors: None
) -> Iterator[DagsterDaemon[Any]]:
    """Return the daemons of an instance, with the fair queue in place of Dagster's, and sensors that can be woken.

    Args:
        instance: Whose.
        follow: Given the daemon of sensors, for whoever wakes it.

    Raises:
        NoFairQueue: The instance has another coordinator.
    """
    seconds = fair_coordinator(instance).seconds_between_ticks
    for kind in instance.get_required_daemon_types():
        if kind == FairQueueDaemon.daemon_type():
            yield FairQueueDaemon(seconds)
        elif kind == WokenSensorDaemon.daemon_type():
            sensors = WokenSensorDaemon(settings=instance.get_sensor_settings())
            follow(sensors)
            yield sensors
        else:
            yield create_daemon_of_type(kind, instance)
