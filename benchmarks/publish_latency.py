"""`python -m benchmarks.publish_latency`: from a publish at a marketplace to the first successful run of it.

A real platform on this machine (`storms/platforms.py`): registry, reference marketplace, code server, `orchestrator
daemon`, PostgreSQL, with a scripted model. A version is approved; the clock ends when Dagster's database says that its
run has succeeded. One publish after the other, each at another moment between two looks. `--profiles` gives each bundle
a runtime profile of its own, whose environment the run makes first, from packages that the installer's cache has.
"""

import argparse
import json
import random
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from statistics import median, quantiles
from typing import Final

import psycopg

from benchmarks.endpoints import scripted_endpoint
from benchmarks.machine import describe_machine
from benchmarks.outcomes import Cell, Outcome, markdown
from orchestrator_resources.homes import home_folder
from orchestrator_resources.runtime_profiles import resolve
from orchestrator_resources.runtimes import framework
from orchestrator_runtimes.locks import Lock
from storms.counts import told_seen
from storms.platforms import Platform
from storms.publishers import StormPublisher

AGENT: Final = "repeater"
PROFILED: Final = "profiled"
TARGETS: Final = {AGENT: 15.0, PROFILED: 30.0}

_RUN: Final = """
SELECT runs.status, runs.create_timestamp, runs.start_time, runs.end_time
FROM run_tags AS tags JOIN runs USING (run_id) WHERE tags.key = 'dagster/run_key' AND tags.value LIKE %s
"""
_MOST_SECONDS: Final = 180.0
_PAUSE_SECONDS: Final = 0.05
_SMALL: Final = ("roman==5.1", "roman==5.0", "roman==4.2", "roman==4.1", "roman==4.0")
"""What bundles add to the framework, in turns."""


def measured(
    platform: Platform, publisher: StormPublisher, agent: str, version: str, lock: Lock | None
) -> dict[str, float]:
    """Publish a version, and return seconds until its run was made, began and had succeeded.

    Raises:
        RuntimeError: It did not succeed.
    """
    publisher.submit(agent, version, publisher.store(agent, version, lock))
    publisher.checked(agent, version)
    began = time.time()
    publisher.approve(agent, version)
    with psycopg.connect(platform.database, autocommit=True) as connection:
        while time.time() < began + _MOST_SECONDS:
            for status, made, start, end in connection.execute(_RUN, [f"%/{agent}:{version}@%"]):
                if status == "FAILURE":
                    raise RuntimeError(f"{agent} {version} failed: {platform.code.log()[-3_000:]}")
                if status == "SUCCESS":
                    at = made.replace(tzinfo=UTC).timestamp()
                    return {"asked": at - began, "begun": start - began, "done": end - began}
            time.sleep(_PAUSE_SECONDS)
    raise RuntimeError(f"{agent} {version} did not run within {_MOST_SECONDS:.0f} s")


def locks(count: int) -> list[Lock]:
    """Return locks of LangGraph and one more distribution, each another environment.

    Each is resolved beforehand, so that the installer has its packages as a team's registry mirror would.
    """
    base = framework("langgraph")
    texts = [
        resolve([*base.requirements, one], preferred=base.lock().python, name="benchmark")
        for one in _SMALL[:count]
    ]
    found = list[Lock]()
    for number in range(count):
        text = texts[number % len(texts)]
        # a lock's digest is that of its requirements; a requirement of no Python that there is makes it another
        mark = f'idna==3.{number % 8 + 4} ; python_version < "2" \\\n    --hash=sha256:{number:064x}\n'
        found.append(Lock(python=text + mark))
    return found


def platform_of(folder: Path, model: str) -> Platform:
    """Write the settings of a platform whose runs run, with the environments of this machine."""
    home = folder / "home"
    home.mkdir()
    (home / "environments").symlink_to(home_folder() / "environments")
    return Platform(
        folder,
        [AGENT, PROFILED],
        daemons=1,
        attributes={"framework": "langgraph"},
        variables={"ORCHESTRATOR_MODEL_URL": model},
        runs=True,
    )


def outcome(
    times: Sequence[dict[str, float]], title: str, target: float, load: tuple[float, float]
) -> Outcome:
    """Return the figures of one kind of publishes."""
    rows: list[dict[str, Cell]] = [
        {
            "until": name,
            "p50 (s)": median(one[key] for one in times),
            "p95 (s)": quantiles([one[key] for one in times], n=20, method="inclusive")[-1],
            "most (s)": max(one[key] for one in times),
        }
        for key, name in (
            ("asked", "its run is asked for"),
            ("begun", "it begins"),
            ("done", "it has succeeded"),
        )
    ]
    return Outcome(
        name="publish_latency",
        title=title,
        how=f"{len(times)} publishes, one after the other; load {load[0]:.1f} at the start, {load[1]:.1f} at the end;"
        f" target {target:.0f} s at p95.",
        rows=rows,
    )


def main() -> int:
    """Run the command line and return its exit status: 1 when a target was missed."""
    parser = argparse.ArgumentParser(prog="benchmarks.publish_latency", description=__doc__)
    parser.add_argument("--publishes", type=int, default=30)
    parser.add_argument("--profiles", type=int, default=0, help="publishes with an environment to be made")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    chance = random.Random(options.seed)
    machine = describe_machine()
    print(json.dumps(machine), datetime.now(UTC).isoformat(timespec="seconds"), flush=True)
    missed = False
    with (
        tempfile.TemporaryDirectory(prefix="latency-") as folder,
        scripted_endpoint(latency=0.05, tool_rounds=0) as endpoint,
    ):
        platform = platform_of(Path(folder), endpoint.base_url)
        publisher = StormPublisher(platform, Path(folder, "publisher"), "langgraph")
        try:
            platform.start()
            publisher.register()
            while len(told_seen(platform.database)) < len(TARGETS):
                time.sleep(1)
            kinds: dict[str, Sequence[Lock | None]] = {
                AGENT: [None] * options.publishes,
                PROFILED: locks(options.profiles),
            }
            for agent, wanted in kinds.items():
                if not wanted:
                    continue
                load = float(machine["load_at_start"]) if agent == AGENT else _load()
                # the first starts what the others find: it is what a platform does once, and not counted
                measured(platform, publisher, agent, "1.0.0", None)
                times = list[dict[str, float]]()
                for number, lock in enumerate(wanted, start=1):
                    time.sleep(chance.random() * 6)
                    times.append(measured(platform, publisher, agent, f"1.{number}.0", lock))
                    print(agent, {key: round(value, 2) for key, value in times[-1].items()}, flush=True)
                title = "A publish runs" + (", with an environment that is made" if agent == PROFILED else "")
                told = outcome(times, title, TARGETS[agent], (load, _load()))
                print(markdown(told), flush=True)
                last = told.rows[-1]["p95 (s)"]
                missed |= not isinstance(last, float) or last > TARGETS[agent]
        finally:
            publisher.close()
            platform.close()
    return 1 if missed else 0


def _load() -> float:
    return float(Path("/proc/loadavg").read_text().split()[0])


if __name__ == "__main__":
    sys.exit(main())
