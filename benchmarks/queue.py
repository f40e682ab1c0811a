"""`python -m benchmarks.queue`: how long a tenant's runs wait beside another's backlog, and what a look at many costs.

Runs are rows of Dagster's own storage that begin and end when this process says so: only the queue is measured.
"""

import argparse
import contextlib
import heapq
import statistics
import tempfile
import time
import uuid
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from dagster import DagsterInstance, DagsterRun, DagsterRunStatus
from dagster._core.storage.runs.schema import RunsTable, RunTagsTable
from dagster._daemon.run_coordinator.queued_run_coordinator_daemon import QueuedRunCoordinatorDaemon
from dagster._serdes import serialize_value

from benchmarks.machine import describe_machine
from benchmarks.outcomes import Cell, Outcome, markdown
from orchestrator_tenancy.queue.seam_daemon import FairQueueDaemon
from tests.integration.postgres_servers import postgres_server
from tests.integration.queue_instances import begin, end, job_of, opened, origin_of, prepare, submit, tick

QUIET, LOUD = "quiet", "loud"
TENANTS: Final[dict[str, Any]] = {
    "organisations": {"acme": {"title": "Acme"}},
    "plans": {"team": {}},
    "tenants": {
        name: {"organisation": "acme", "plan": "team", "locations": {name: {}}}
        for name in (QUIET, LOUD, *(f"tenant{number}" for number in range(98)))
    },
}
MEMORY: Final = "/dev/shm"
QUEUED: Final = 10_000
PLACES: Final = 10
RUN_SECONDS: Final = 5.0
BURST: Final = 15
"""Runs that the quiet tenant submits at once."""
BURSTS: Final = 3
PERIOD_SECONDS: Final = 20.0
BACKLOG: Final = 100 * BURST * BURSTS
PATIENCE_SECONDS: Final = 30.0
"""How long after the last burst a side goes on; what has not started by then waits longer."""


@dataclass(frozen=True)
class Side:
    """One of what is compared: whose order, and whether beside a backlog."""

    title: str
    daemon: type[QueuedRunCoordinatorDaemon]
    backlog: int
    age_seconds: float = 15.0
    """For how long the backlog has all places before anybody else comes, so that its runs do not end all at once. Who
    has had more than its part for minutes gives way to others sooner."""


SIDES: Final = (
    Side("fair, alone", FairQueueDaemon, 0),
    Side("fair, beside a backlog of five minutes", FairQueueDaemon, BACKLOG, 300.0),
    Side("fair, beside a backlog of 15 seconds", FairQueueDaemon, BACKLOG),
    Side("stock, beside the backlog", QueuedRunCoordinatorDaemon, BACKLOG),
)


def fill(instance: DagsterInstance, locations: Sequence[str], active: int = 0) -> list[str]:
    """Write a queued run for each of many code locations at once and return their ids; the first few go on already."""
    template = submit(instance, locations[0], job=job_of("any"))
    runs = list[dict[str, Any]]()
    tags = list[dict[str, Any]]()
    for number, location in enumerate(locations):
        status = DagsterRunStatus.STARTED if number < active else DagsterRunStatus.QUEUED
        run = _changed(
            template,
            run_id=str(uuid.uuid4()),
            status=status,
            remote_job_origin=origin_of(location),
            tags={**template.tags, "dagster/code_location": location},
        )
        runs.append(
            {
                "run_id": run.run_id,
                "snapshot_id": run.job_snapshot_id,
                "pipeline_name": run.job_name,
                "status": status.value,
                "run_body": serialize_value(run),
                "start_time": time.time() if number < active else None,
            }
        )
        tags += [{"run_id": run.run_id, "key": key, "value": value} for key, value in run.tags.items()]
    storage: Any = instance.run_storage
    with storage.connect() as connection:
        connection.execute(RunsTable.insert(), runs)
        connection.execute(RunTagsTable.insert(), tags)
    instance.delete_run(template.run_id)
    return [str(run["run_id"]) for run in runs]


def _changed(run: DagsterRun, **fields: Any) -> DagsterRun:
    changed: Any = run
    made: DagsterRun = changed._replace(**fields)
    return made


@contextlib.contextmanager
def instance_in(place: str) -> Generator[DagsterInstance]:
    # a file system in memory: what a disk has to do beside this is not measured
    memory = MEMORY if Path(MEMORY).is_dir() else None
    with tempfile.TemporaryDirectory(prefix="benchmark-", dir=memory) as folder:
        prepare(Path(folder), place, tenants=TENANTS, runs=PLACES, dequeue_interval_seconds=1)
        with opened(Path(folder)) as instance:
            yield instance


def look_times(title: str, place: str) -> list[dict[str, Cell]]:
    """Measure looks at a long queue, of ours and of stock."""
    names = sorted(TENANTS["tenants"])
    with instance_in(place) as instance:
        fill(instance, [names[number % len(names)] for number in range(QUEUED)], active=PLACES - 4)
        settings = instance.get_concurrency_config()

        def looked(daemon: QueuedRunCoordinatorDaemon) -> tuple[float, float]:
            inside: Any = daemon
            next_of = inside._get_runs_to_dequeue
            wall, processor = time.perf_counter(), time.process_time()
            assert len(next_of(instance, settings, None)) == 4
            return time.perf_counter() - wall, time.process_time() - processor

        fair = FairQueueDaemon(1)
        first, again = looked(fair), [looked(fair) for _ in range(7)]
        stock = [looked(QueuedRunCoordinatorDaemon(1)) for _ in range(3)]
    return [
        {"runs in": title, "queue": queue, "s": median(times, 0), "processor s": median(times, 1)}
        for queue, times in (("fair, first look", [first]), ("fair", again), ("stock", stock))
    ]


def median(times: Sequence[tuple[float, float]], which: int) -> float:
    return statistics.median(time[which] for time in times)


def waits_of(side: Side) -> list[float]:
    """Return how long each of the quiet tenant's runs waited, in seconds; infinite for those that still do."""
    with instance_in("") as instance:
        if side.backlog:
            fill(instance, [LOUD] * side.backlog)
        daemon = side.daemon(1)
        submitted, waited, going = dict[str, float](), dict[str, float](), list[tuple[float, str]]()
        began = time.monotonic()

        def second() -> None:
            started = tick(instance, daemon)
            now = time.monotonic()
            begin(instance, started)
            for number, run in enumerate(started):
                heapq.heappush(going, (now + RUN_SECONDS * (0.8 + 0.05 * (number % 9)), run))
                if run in submitted:
                    waited[run] = now - submitted[run]

        while time.monotonic() < began + side.age_seconds:
            pass_a_second(instance, going, second)
        began = time.monotonic()
        for number in range(BURSTS):
            # at once: whoever submits is another process, and keeps nobody from looking
            submitted |= dict.fromkeys(fill(instance, [QUIET] * BURST), time.monotonic())
            while time.monotonic() < began + (number + 1) * PERIOD_SECONDS:
                pass_a_second(instance, going, second)
        last = time.monotonic()
        while len(waited) < len(submitted) and time.monotonic() < last + PATIENCE_SECONDS:
            pass_a_second(instance, going, second)
        return sorted(waited.get(run, float("inf")) for run in submitted)


def pass_a_second(instance: DagsterInstance, going: list[tuple[float, str]], look: Any) -> None:
    until = time.monotonic() + 1
    while going and going[0][0] <= time.monotonic():
        end(instance, [heapq.heappop(going)[1]])
    look()
    time.sleep(max(0.0, until - time.monotonic()))


def measure_waits() -> Outcome:
    found = {side: waits_of(side) for side in SIDES}
    late = {side: waits[int(0.95 * len(waits)) - 1] for side, waits in found.items()}
    alone, old, young, stock = (late[side] for side in SIDES)
    return Outcome(
        name="waits",
        title="How long runs wait beside another tenant's backlog",
        how=f"{PLACES} places, runs of about {RUN_SECONDS:.0f} s; a tenant submits {BURST} runs at once, {BURSTS}"
        f" times, every {PERIOD_SECONDS:.0f} s; another has {BACKLOG:,} runs waiting from before, of the same weight."
        " A look every second, SQLite in memory. What has not started"
        f" {PATIENCE_SECONDS:.0f} s after the last burst's period counts as never.",
        rows=[
            {
                "queue": side.title,
                "p50 s": statistics.median(waits),
                "p95 s": late[side],
                "never started": sum(wait == float("inf") for wait in waits),
            }
            for side, waits in found.items()
        ],
        findings=[
            f"p95 beside the backlog is {old / alone:.2f} times that alone where the backlog goes on for five minutes,"
            f" and {young / alone:.2f} times where it came 15 s before; with the stock daemon "
            + ("never" if stock == float("inf") else f"{stock / alone:.2f} times")
        ],
    )


def measure_looks() -> Outcome:
    with postgres_server() as server:
        rows = [*look_times("SQLite", ""), *look_times("PostgreSQL", server.database())]
    return Outcome(
        name="looks",
        title=f"A look at {QUEUED:,} runs that wait",
        how=f"Of {len(TENANTS['tenants'])} tenants, {PLACES - 4} of {PLACES} places taken; until what starts is known;"
        " the first two looks of a process read 5,000 runs each, later ones what is new (median of 7; stock: of 3).",
        rows=rows,
    )


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks.queue", description=__doc__)
    parser.add_argument("--only", choices=["looks", "waits"])
    only = parser.parse_args().only
    print(", ".join(f"{key} {value}" for key, value in describe_machine().items()), flush=True)
    for name, measure in (("looks", measure_looks), ("waits", measure_waits)):
        if only in (None, name):
            print(f"\n{markdown(measure())}", flush=True)


if __name__ == "__main__":
    main()
