"""How fast a queue of runs becomes pods, and whether as many are at work as may be: ours against stock Dagster.

`python -m benchmarks.cluster_queue` needs the `KUBECONFIG` of a cluster, such as that of `make cluster-up`, and rights
to make nodes. API server, scheduler, daemon, queue, launchers and database are real. The pods are placed on nodes that
exist by word only, and their time is simulated: a pod that imports Dagster takes seconds of a processor, so that a
small machine would measure itself. `--only real` has them run all the same.
"""
# the Kubernetes client is typed in part:
# pyright: reportUnknownMemberType=false, reportMissingTypeStubs=false

import argparse
import contextlib
import json
import sys
import tempfile
import time
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import dagster as dg
import yaml
from kubernetes import config  # type: ignore[import-untyped]

from benchmarks.cluster_instances import Instance, limited, simulated, stock
from benchmarks.cluster_platforms import (
    KEEP_HELP,
    LOCATION,
    FiguresPlatform,
    figures_platform,
    forwarded,
    say,
)
from benchmarks.fake_nodes import FakeNode, FakeNodes, fake_nodes
from benchmarks.machine import describe_machine
from benchmarks.outcomes import Cell, Outcome, markdown
from tests.e2e.charts import RELEASE

NODES: Final = 4
RUNS: Final = 100
KINDS: Final = ("burst", "steady", "real")
"""Queues: no limit below the number of runs, the chart's limit, and pods that are no simulation."""
TARGET: Final = 3.0

_KIND: Final = "simulated-queue"
_SECONDS: Final = 900.0
_RUN_LABEL: Final = "dagster/run-id"
_STARTING: Final = 120.0
_EVENTS: Final = {
    "Running": dg.DagsterEventType.PIPELINE_START,
    "Succeeded": dg.DagsterEventType.PIPELINE_SUCCESS,
}
"""What a run says of itself when its pod is in a phase."""


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One queue.

    Attributes:
        stock: Whether stock Dagster launches its runs.
        limit: Most runs at once.
        seconds: How long each takes; None has them really run.
        runs: How many are queued.
    """

    stock: bool
    limit: int
    seconds: float | None
    runs: int = RUNS

    @property
    def name(self) -> str:
        """For people."""
        length = "real pods" if self.seconds is None else f"pods of {self.seconds:.0f} s"
        bound = "without a limit" if self.limit >= self.runs else f"{length}, at most {self.limit} at once"
        return f"{'stock' if self.stock else 'ours'}, {bound}"


@dataclass(frozen=True, kw_only=True)
class Stayed:
    """When a pod was there; Unix seconds."""

    began: float
    ended: float


@dataclass(frozen=True, kw_only=True)
class Drained:
    """How a queue went.

    Attributes:
        trial: Which.
        stays: Of all its pods.
        cpu: Processor seconds of the daemon meanwhile.
        seconds: From the daemon's start to the last pod's beginning.
    """

    trial: Trial
    stays: Sequence[Stayed]
    cpu: float
    seconds: float

    @property
    def rate(self) -> float:
        """Pods a minute, from the first to the last one's beginning."""
        began = sorted(stay.began for stay in self.stays)
        return 60 * (len(began) - 1) / (began[-1] - began[0])

    @property
    def full(self) -> float:
        """How much of the limit was used while runs were waiting; 1 is always all of it."""
        return used(self.stays, self.trial.limit)


def used(stays: Sequence[Stayed], limit: int) -> float:
    """Return the mean share of a limit that was in use, from the first beginning to the last."""
    first, last = min(stay.began for stay in stays), max(stay.began for stay in stays)
    held = sum(min(stay.ended, last) - stay.began for stay in stays)
    return held / (limit * (last - first))


class Queue:
    """The daemon of an installation, restarted for each trial with an instance of its own.

    Args:
        platform: The installation.
        nodes: Where pods are simulated; None where none are.
    """

    def __init__(self, platform: FiguresPlatform, nodes: FakeNodes | None) -> None:
        """Keep the instance that the chart has made."""
        self._platform, self._nodes = platform, nodes
        held = platform.namespace.get("configmap", f"{RELEASE}-instance")
        self._chart: Instance = yaml.safe_load(held["data"]["dagster.yaml"])
        self._watch = platform.namespace.get("deployment", f"{RELEASE}-daemon")["spec"]["template"]["spec"][
            "containers"
        ][1]["command"]

    def drain(self, trial: Trial) -> Drained:
        """Queue the runs of a trial, start the daemon, and wait until all are over."""
        self._stop()
        self._set(trial)
        runs = [self._platform.launch(LOCATION, "run_plain") for _ in range(trial.runs)]
        if self._nodes is not None and trial.seconds is not None:
            self._nodes.stays.clear()
            self._nodes.seconds = trial.seconds
        began = time.time()
        self._start()
        statuses = self._wait(runs)
        wrong = [run for run, status in statuses.items() if status != "SUCCESS"]
        if wrong:
            raise SystemExit(f"{len(wrong)} runs did not succeed:\n{self._platform.run(wrong[0]).text}")
        stays = self._stays(runs)
        return Drained(
            trial=trial,
            stays=stays,
            cpu=self._cpu(),
            seconds=max(stay.began for stay in stays) - began,
        )

    def _wait(self, runs: Sequence[str]) -> dict[str, str]:
        """Wait until all runs are over; where pods are simulated, asking would only disturb until all are placed."""
        nodes, until = self._nodes, time.monotonic() + _SECONDS
        while nodes is not None and len(nodes.stays) < len(runs):
            if nodes.failed is not None:
                raise nodes.failed
            if time.monotonic() > until:
                raise TimeoutError(
                    f"{len(nodes.stays)} of {len(runs)} runs have a pod after {_SECONDS:.0f} s"
                )
            time.sleep(0.2)
        if nodes is not None:
            nodes.seconds = min(nodes.seconds, 1.0)  # all are launched: nothing is measured any more
        return self._platform.all_end(runs, _SECONDS)

    def _stays(self, runs: Sequence[str]) -> list[Stayed]:
        if self._nodes is not None:
            there = self._nodes.stays.values()
            return [Stayed(began=stay.began, ended=stay.ended or stay.began) for stay in there]
        listed = json.loads(self._platform.team.ask("get", "jobs", "--output=json"))["items"]
        made = {
            job["metadata"]["labels"].get(_RUN_LABEL): _unix(job["metadata"]["creationTimestamp"])
            for job in listed
        }
        return [Stayed(began=made[run], ended=self._platform.times(run)["endTime"]) for run in runs]

    def _set(self, trial: Trial) -> None:
        instance = limited(self._chart, trial.limit)
        if trial.seconds is not None:
            instance = simulated(instance, {_KIND: "true"})
        if trial.stock:
            instance = stock(instance, LOCATION)
        change = {"data": {"dagster.yaml": yaml.safe_dump(instance)}}
        self._patch(f"configmap/{RELEASE}-instance", change)
        # what watches our runs has nothing to watch, and would end
        idle = ["python", "-c", "import time; time.sleep(10**6)"]
        watch = {"name": "run-watch", "command": idle if trial.stock else self._watch}
        self._patch(f"deployment/{RELEASE}-daemon", {"spec": {"template": {"spec": {"containers": [watch]}}}})

    def _patch(self, what: str, change: Mapping[str, Any]) -> None:
        self._platform.namespace.ask("patch", what, f"--patch={json.dumps(change)}")

    def _stop(self) -> None:
        self._scale(0)
        selector = "--selector=app.kubernetes.io/component=daemon"
        self._platform.until(
            lambda: not self._platform.namespace.ask("get", "pods", selector, "--output=name"),
            _STARTING,
            "the daemon has ended",
        )

    def _start(self) -> None:
        self._scale(1)

    def _scale(self, replicas: int) -> None:
        self._platform.namespace.ask("scale", f"deployment/{RELEASE}-daemon", f"--replicas={replicas}")

    def _cpu(self) -> float:
        """Return the processor seconds that the daemon has used."""
        words = ("exec", f"deployment/{RELEASE}-daemon", "--container=daemon", "--", "cat", "/proc/1/stat")
        fields = self._platform.namespace.ask(*words).rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / 100


class Reporter:
    """Tells Dagster of simulated runs what they would tell it themselves: that they began, and that they succeeded.

    Args:
        instance: With the platform's database.
    """

    def __init__(self, instance: dg.DagsterInstance) -> None:
        """Begin."""
        self._instance = instance

    def tell(self, labels: Mapping[str, str], phase: str) -> None:
        """Tell what the run of a pod does in a phase."""
        run_id, kind = labels[_RUN_LABEL], _EVENTS[phase]
        event = dg.DagsterEvent(event_type_value=kind.value, job_name=labels["dagster/job"])
        self._instance.report_dagster_event(event, run_id=run_id)


@contextlib.contextmanager
def simulation(platform: FiguresPlatform) -> Generator[FakeNodes]:
    """Have nodes on which the platform's runs are simulated."""
    config.load_kube_config()
    with (
        forwarded(platform.namespace, f"service/{RELEASE}-postgresql", 5432) as url,
        tempfile.TemporaryDirectory(prefix="benchmark-") as folder,
    ):
        database = platform.database(url.removeprefix("http://"))
        storage = {"storage": {"postgres": {"postgres_url": database}}, "telemetry": {"enabled": False}}
        Path(folder, "dagster.yaml").write_text(yaml.safe_dump(storage))
        with dg.DagsterInstance.from_config(folder) as instance:
            nodes = [
                FakeNode(name=f"{_KIND}-{number}", resources={}, labels={_KIND: "true"})
                for number in range(NODES)
            ]
            with fake_nodes(nodes, Reporter(instance).tell) as made:
                yield made


def _unix(timestamp: str) -> float:
    return datetime.fromisoformat(timestamp).timestamp()


def trials(kinds: Sequence[str], runs: int) -> list[Trial]:
    """Return the queues of these kinds, with so many runs each: stock and ours in turns."""
    lengths: dict[str, tuple[int, float | None]] = {
        "burst": (runs, _SECONDS),  # none ends before all are launched
        "steady": (25, 10.0),
        "real": (10, None),
    }
    return [
        Trial(stock=side, limit=lengths[kind][0], seconds=lengths[kind][1], runs=runs)
        for kind in kinds
        for side in (True, False)
    ]


def measure(kinds: Sequence[str], runs: int, keep: bool) -> Outcome:
    """Drain every queue."""
    changes = {"tenants": {"acme": {"quota": {"pods": 2 * runs}}}, "runs": {"keepSeconds": 600}}
    drained = list[Drained]()
    with figures_platform(changes, keep=keep) as platform:
        for kind in kinds:
            with contextlib.nullcontext() if kind == "real" else simulation(platform) as nodes:
                queue = Queue(platform, nodes)
                for trial in trials([kind], runs):
                    drained.append(queue.drain(trial))
                    say(
                        f"  {trial.name}: {drained[-1].rate:.0f} a minute, {drained[-1].full:.0%} of the limit"
                    )
    pairs = zip(drained[::2], drained[1::2], strict=True)
    return Outcome(
        name="cluster-queue",
        title="A queue of runs",
        how=f"{runs} runs of a job without agents are queued; then the daemon starts. Stock: Dagster's own launcher and"
        " queue as they come. Ours: what the chart sets. Runs of some seconds are simulated: their pods are placed on"
        f" {NODES} nodes that exist by word only. Rate: pods a minute, from the first to the last. Used: mean share of"
        " the limit meanwhile.",
        rows=[_row(one) for one in drained],
        findings=[
            f"{ours.trial.name}: {ours.rate / theirs.rate:.1f} times the stock rate (target {TARGET:.0f})."
            for theirs, ours in pairs
        ],
    )


def _row(one: Drained) -> dict[str, Cell]:
    return {
        "queue": one.trial.name,
        "runs": len(one.stays),
        "pods a minute": one.rate,
        "used of the limit": one.full,
        "daemon's start to last pod, s": one.seconds,
        "daemon's CPU, s": one.cpu,
    }


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="benchmarks.cluster_queue", description=__doc__)
    parser.add_argument("--runs", type=int, default=RUNS, help="of each queue")
    parser.add_argument("--only", action="append", choices=KINDS, help="default: burst and steady")
    parser.add_argument("--keep", action="store_true", help=KEEP_HELP)
    options = parser.parse_args()
    machine = describe_machine()
    print(markdown(measure(options.only or KINDS[:2], options.runs, options.keep)))
    print(machine)
    return 0


if __name__ == "__main__":
    sys.exit(main())
