"""A thousand executions as one run in one pod, against the same asset in a run on this machine.

`python -m benchmarks.cluster_thousand` needs a cluster whose pods this machine reaches, such as that of `make
cluster-up`. Both sides share the machine's cores and ask the same scripted model.
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from benchmarks.cluster_platforms import KEEP_HELP, LOCATION, PROJECT, FiguresPlatform, figures_platform, say
from benchmarks.frameworks import find_framework
from benchmarks.machine import describe_machine
from benchmarks.outcomes import Cell, Outcome, markdown

FRAMEWORKS: Final = ("langgraph", "agno")
TARGET: Final = 1.2
_SECONDS: Final = 600.0


@dataclass(frozen=True, kw_only=True)
class Thousand:
    """How long the executions of one framework took.

    Attributes:
        framework: Which.
        local: Seconds of the agent's step on this machine.
        pod: The same in the pod.
        run: Seconds of the pod's whole run, from when it was asked for.
    """

    framework: str
    local: float
    pod: float
    run: float


def in_a_pod(platform: FiguresPlatform, framework: str, count: int) -> tuple[float, float]:
    """Run on the cluster, and return the seconds of the step, and of the run since it was asked for."""
    config = {"ops": {"questions": {"config": {"count": count}}}}
    run_id = platform.launch(LOCATION, f"run_many_{framework}", config=config)
    platform.ends(run_id, "SUCCESS", _SECONDS)
    times = platform.times(run_id)
    (step,) = [one for one in times["stepStats"] if one["stepKey"] == f"many_{framework}"]
    return step["endTime"] - step["startTime"], times["endTime"] - times["creationTime"]


def here(model_url: str, framework: str, count: int) -> float:
    """Run on this machine, with a gateway of its own as everywhere without a cluster; return the step's seconds."""
    own = {
        "ORCHESTRATOR_MODEL_URL": model_url,
        "ORCHESTRATOR_SPARE_SECONDS": "0",
        "DAGSTER_DISABLE_TELEMETRY": "1",
    }
    done = subprocess.run(
        [sys.executable, PROJECT / "figures.py", framework, str(count)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        env={**os.environ, **own},
        timeout=_SECONDS,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"the run of {framework} on this machine failed: {done.stderr[-2_000:]}")
    return float(json.loads(done.stdout.splitlines()[-1])["seconds"])


def measure(frameworks: Sequence[str], count: int, rounds: int, keep: bool) -> Outcome:
    """Run both sides in turns."""
    found = list[Thousand]()
    with figures_platform(keep=keep) as platform:
        address = platform.namespace.get("service", "scripted")["spec"]["clusterIP"]
        model_url = f"http://{address}:8080/m/second/v1"
        for framework in frameworks:
            for _ in range(rounds):
                local = here(model_url, framework, count)
                pod, run = in_a_pod(platform, framework, count)
                found.append(Thousand(framework=framework, local=local, pod=pod, run=run))
                say(
                    f"  {framework}: here {local:.1f} s, in a pod {pod:.1f} s (load {os.getloadavg()[0]:.1f})"
                )
    worst = max(one.pod / one.local for one in found)
    return Outcome(
        name="cluster-thousand",
        title=f"{count:,} executions in one pod",
        how=f"{count:,} executions of two model calls (1 s each) and a tool, at most 400 at once, of one asset: on this"
        " machine with a gateway of its own and its journal in SQLite, then in a pod, with the cluster's two gateways"
        " and PostgreSQL. Seconds of the step, in which guests start; every answer must be that of its question.",
        rows=[_row(one) for one in found],
        findings=[f"In the pod at most {worst:.2f} times as long (target {TARGET})."],
    )


def _row(one: Thousand) -> dict[str, Cell]:
    return {
        "framework": one.framework,
        "here, s": one.local,
        "in a pod, s": one.pod,
        "ratio": one.pod / one.local,
        "from asking for the run to its end, s": one.run,
    }


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="benchmarks.cluster_thousand", description=__doc__)
    parser.add_argument("--count", type=int, default=1_000, help="executions")
    parser.add_argument("--rounds", type=int, default=2, help="of each framework")
    parser.add_argument("--framework", action="append", choices=FRAMEWORKS, help="default: all")
    parser.add_argument("--keep", action="store_true", help=KEEP_HELP)
    options = parser.parse_args()
    machine = describe_machine()
    for name in options.framework or FRAMEWORKS:
        find_framework(name)
    print(markdown(measure(options.framework or FRAMEWORKS, options.count, options.rounds, options.keep)))
    print(machine)
    return 0


if __name__ == "__main__":
    sys.exit(main())
