"""How long it takes on a cluster from the launch of a run to the first model request of its agent.

`.venv/bin/python -m benchmarks.cluster_launch` needs what `make e2e` needs: a `KUBECONFIG`, `kubectl`, and the images
of the platform. It deploys a platform of its own in a namespace, and measures runs of one agent in pods that are made
for them and in pods that waited, beside a pod of the same image that does nothing.
"""
# the Kubernetes client is typed in part:
# pyright: reportUnknownMemberType=false, reportMissingTypeStubs=false

import argparse
import os
import sys
import time
from collections.abc import Callable, Sequence
from datetime import datetime
from statistics import median, quantiles
from typing import Any, Final

from kubernetes import client, config  # type: ignore[import-untyped]

from benchmarks.machine import describe_machine
from benchmarks.outcomes import Cell, Outcome, markdown
from tests.e2e.images import platform_images
from tests.e2e.namespaces import restricted_namespace
from tests.e2e.platforms import Platform
from tests.e2e.pods import container, pod
from tests.e2e.waiting_pods import ready

RUNS: Final = 10
FRESH_SECONDS: Final = 5.0
BEYOND_PLAIN_SECONDS: Final = 2.5
WARM_SECONDS: Final = 1.0

_JOB: Final = "run_quick"
_MODEL: Final = "quick"
_SECONDS: Final = 180.0
_STATS: Final = """
query($run: ID!) {
  runOrError(runId: $run) { ... on Run { stats { ... on RunStatsSnapshot { enqueuedTime launchTime } } } }
}
"""


def plain_pod(platform: Platform, image: str, number: int) -> float:
    """Return how long a pod takes that ends at once, from asking for it to hearing that it succeeded, in seconds."""
    core: Any = client.CoreV1Api()
    namespace, name = platform.namespace.name, f"plain-{number}"
    began = time.monotonic()
    core.create_namespaced_pod(namespace, pod(name, container("main", image, "pass")))
    while core.read_namespaced_pod(name, namespace).status.phase != "Succeeded":
        if time.monotonic() > began + _SECONDS:
            raise TimeoutError(f"the pod {name!r} does not succeed")
        time.sleep(0.02)
    took = time.monotonic() - began
    core.delete_namespaced_pod(name, namespace)
    return took


def calls_at(platform: Platform) -> list[float]:
    """Return when the model was asked the first question of a conversation; Unix times, up to 0.1 s late."""
    lines = platform.namespace.ask("logs", "deployment/scripted", "--timestamps").splitlines()
    return [
        datetime.fromisoformat(line.split()[0]).timestamp()
        for line in lines
        if line.split()[1:] == [_MODEL, "1"]
    ]


def run_once(platform: Platform, location: str, pod: str | None = None) -> tuple[float, float]:
    """Return the seconds from the launch, and from the request, to the first model request.

    Args:
        platform: Where it runs.
        location: Of the agent.
        pod: Uid of the pod that must have the run; None for any.
    """
    before = len(calls_at(platform))
    run_id = platform.launch(location, _JOB)
    platform.ends(run_id, "SUCCESS", _SECONDS)
    (call,) = calls_at(platform)[before:]
    stats = platform.ask(_STATS, run=run_id)["runOrError"]["stats"]
    if pod is not None and platform.pod(run_id)["metadata"]["uid"] != pod:
        raise RuntimeError(f"the run {run_id} did not begin in the pod that waited")
    return call - stats["launchTime"], call - stats["enqueuedTime"]


def warm_run(platform: Platform) -> tuple[float, float]:
    """Return the same of a run that begins in a pod that waited."""
    waits = ready(platform, "warm")
    time.sleep(2)  # what its start has left to do
    return run_once(platform, "warm", str(waits["metadata"]["uid"]))


def row(name: str, taken: Sequence[tuple[float, ...]], columns: Sequence[str]) -> dict[str, Cell]:
    """Return a row of p50 and p95 of each column; what a side has not got is None."""
    told: dict[str, Cell] = {"what": name, "times": len(taken)}
    for number, column in enumerate(columns):
        values = [one[number] for one in taken if number < len(one)]
        told[f"{column}, p50 s"] = median(values) if values else None
        told[f"{column}, p95 s"] = quantiles(values, n=20)[-1] if len(values) > 1 else None
    return told


def measure(platform: Platform, image: str, count: int) -> Outcome:
    """Measure all three, in turn, after one of each that does not count."""
    sides: dict[str, Callable[[int], tuple[float, ...]]] = {
        "a plain pod, to Succeeded": lambda number: (plain_pod(platform, image, number),),
        "a run in a pod of its own": lambda _: run_once(platform, "trials"),
        "a run in a pod that waited": lambda _: warm_run(platform),
    }
    run_once(platform, "warm")
    taken = dict[str, list[tuple[float, ...]]]()
    for number in range(count + 1):
        for name, side in sides.items():
            took = side(number)
            print(
                f"{name}: {' '.join(f'{seconds:.2f}' for seconds in took)} s, load {os.getloadavg()[0]:.1f}"
            )
            if number:
                taken.setdefault(name, []).append(took)
    columns = ("from the launch", "from the request")
    plain, fresh, warm = (median(one[0] for one in taken[name]) for name in sides)
    return Outcome(
        name="cluster-launch",
        title="Launch to first model request on a cluster",
        how=f"One agent of LangGraph that asks a scripted model; {count} of each, in turn, after one that does not"
        " count; the images are on the node. From the launch: Dagster's event that the daemon launches the run. From"
        " the request: the web server's that it is queued. Model requests are seen up to 0.1 s late.",
        rows=[row(name, taken[name], columns) for name in sides],
        findings=[
            f"Fresh: {fresh:.2f} s at p50 (target {FRESH_SECONDS} s), {fresh - plain:+.2f} s beyond a plain pod"
            f" (target {BEYOND_PLAIN_SECONDS} s).",
            f"Warm: {warm:.2f} s at p50 (target {WARM_SECONDS} s).",
        ],
    )


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="benchmarks.cluster_launch", description=__doc__)
    parser.add_argument("--runs", type=int, default=RUNS, help=f"of each; default {RUNS}")
    options = parser.parse_args()
    config.load_kube_config(os.environ["KUBECONFIG"])
    images, machine = platform_images(), describe_machine()
    with restricted_namespace() as namespace:
        platform = Platform(namespace, images)
        print(markdown(measure(platform, images["location"], options.runs)))
    print(machine)
    return 0


if __name__ == "__main__":
    sys.exit(main())
