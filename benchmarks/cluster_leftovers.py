"""What runs leave behind: objects, rows, and whatever a pod may leave on its node, counted before and after many runs.

`python -m benchmarks.cluster_leftovers --runs 50` needs the `KUBECONFIG` of a cluster, such as that of `make
cluster-up`. A run succeeds, fails, is terminated, loses its pod or a guest server, or has an image that cannot be
pulled. What was done is kept in a file: the same command goes on where it was stopped.
"""

import argparse
import contextlib
import json
import os
import sys
import time
from collections import Counter
from collections.abc import Generator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from benchmarks.cluster_census import node, objects, rows
from benchmarks.cluster_platforms import (
    LOCATION,
    FiguresPlatform,
    figures_platform,
    forwarded,
    platform_images_of_figures,
    remove_kept,
    say,
)
from benchmarks.machine import describe_machine
from benchmarks.outcomes import Cell, Outcome, markdown
from tests.e2e.charts import RELEASE
from tests.e2e.kubectl import Refused

STATE: Final = Path("var", "leftovers.json")
AT_ONCE: Final = 6
KEEP_SECONDS: Final = 5
"""How long a finished job stays: a day is usual, and nobody would wait for that."""
RUN_SECONDS: Final = 300.0

_SETTLE_SECONDS: Final = 240.0
_UNPULLABLE: Final = "unpullable"
_GUARD: Final = "import os, signal; os.kill(1, signal.SIGTERM)"


class Fate(StrEnum):
    """What becomes of a run."""

    PLAIN = "a plain asset"
    AGENT = "an agent"
    WRONG = "its asset fails"
    TERMINATED = "is terminated"
    LOST_POD = "loses its pod"
    LOST_GUESTS = "loses its guests"
    UNPULLABLE = "has no image"


JOBS: Final[Mapping[Fate, str]] = {
    Fate.PLAIN: "run_plain",
    Fate.AGENT: "run_agent",
    Fate.WRONG: "run_wrong",
    Fate.TERMINATED: "run_endless",
    Fate.LOST_POD: "run_endless",
    Fate.LOST_GUESTS: "run_slow_agent",
    Fate.UNPULLABLE: "run_agent",
}
ENDS: Final[Mapping[Fate, str]] = {
    Fate.PLAIN: "SUCCESS",
    Fate.AGENT: "SUCCESS",
    Fate.TERMINATED: "CANCELED",
    **dict.fromkeys((Fate.WRONG, Fate.LOST_POD, Fate.LOST_GUESTS, Fate.UNPULLABLE), "FAILURE"),
}


def fate(number: int) -> Fate:
    """Return what becomes of the run with a number, from 0: of ten, six succeed."""
    tenth, place = divmod(number, 10)
    if place == 8:
        return Fate.LOST_GUESTS if tenth % 2 else Fate.LOST_POD
    return {1: Fate.AGENT, 4: Fate.AGENT, 6: Fate.WRONG, 7: Fate.TERMINATED, 9: Fate.UNPULLABLE}.get(
        place, Fate.PLAIN
    )


@dataclass
class State:
    """What was done; it is written after each run, so that the command can go on.

    Attributes:
        namespace: Of the release.
        warm: Whether what a first run makes is there, and was counted.
        done: How many runs are over.
        fates: How many had which fate.
        unexpected: Runs that ended otherwise than they should: their ids, and what they were.
        before: What was counted before.
    """

    namespace: str = ""
    warm: bool = False
    done: int = 0
    fates: dict[str, int] = field(default_factory=dict[str, int])
    unexpected: dict[str, str] = field(default_factory=dict[str, str])
    before: dict[str, dict[str, int]] = field(default_factory=dict[str, dict[str, int]])

    def write(self) -> None:
        """Keep it."""
        STATE.parent.mkdir(exist_ok=True)
        new = STATE.with_suffix(".new")
        new.write_text(json.dumps(asdict(self)))
        new.rename(STATE)


@dataclass
class Going:
    """A run that is not over."""

    number: int
    fate: Fate
    asked: float
    hit: bool = False


class Trial:
    """Runs one after the other, a few at once, and gives each its fate.

    Args:
        platform: Where.
        state: What was done before.
    """

    def __init__(self, platform: FiguresPlatform, state: State) -> None:
        """Begin with no run."""
        self._platform, self._state = platform, state
        self._going = dict[str, Going]()

    def run(self, numbers: Sequence[int]) -> None:
        """Run those with these numbers."""
        left = list(numbers)
        while left or self._going:
            while left and len(self._going) < AT_ONCE:
                self._begin(left.pop(0))
            for run_id, status in self._platform.statuses(list(self._going)).items():
                self._look(run_id, status)
            time.sleep(1)

    def _begin(self, number: int) -> None:
        chosen = fate(number)
        location = _UNPULLABLE if chosen is Fate.UNPULLABLE else LOCATION
        run_id = self._platform.launch(location, JOBS[chosen])
        self._going[run_id] = Going(number=number, fate=chosen, asked=time.monotonic())

    def _look(self, run_id: str, status: str) -> None:
        going = self._going[run_id]
        if status in ("SUCCESS", "FAILURE", "CANCELED"):
            self._end(run_id, status)
        elif time.monotonic() > going.asked + RUN_SECONDS:
            self._platform.terminate(run_id, force=True)
            self._end(run_id, f"{status} after {RUN_SECONDS:.0f} s")
        elif status == "STARTED" and not going.hit:
            with contextlib.suppress(Refused):  # its pod is not there any more, or not yet
                self._hit(run_id, going.fate)
                going.hit = True

    def _hit(self, run_id: str, chosen: Fate) -> None:
        if chosen is Fate.TERMINATED:
            self._platform.terminate(run_id)
        elif chosen is Fate.LOST_POD:
            selector = f"--selector=dagster/run-id={run_id}"
            self._platform.team.ask("delete", "pods", selector, "--force", "--grace-period=0", "--wait=false")
        elif chosen is Fate.LOST_GUESTS:
            (pod,) = self._platform.pods(run_id)
            name, container = pod["metadata"]["name"], pod["spec"]["initContainers"][0]["name"]
            self._platform.team.ask("exec", name, f"--container={container}", "--", "python", "-c", _GUARD)

    def _end(self, run_id: str, status: str) -> None:
        going = self._going.pop(run_id)
        self._state.done += 1
        self._state.fates[going.fate] = self._state.fates.get(going.fate, 0) + 1
        if status != ENDS[going.fate]:
            self._state.unexpected[run_id] = f"{going.fate}: {status}"
        if self._state.namespace:
            self._state.write()
        if self._state.done % 10 == 0:
            say(f"  {self._state.done} runs are over (load {os.getloadavg()[0]:.1f})")


def census(platform: FiguresPlatform) -> dict[str, dict[str, int]]:
    """Return everything that is counted, by what it is."""
    with forwarded(platform.namespace, f"service/{RELEASE}-postgresql", 5432) as url:
        told = rows(platform.database(url.removeprefix("http://")))
    return {"objects": objects(platform.namespace, platform.team), "rows": told, **(node() or {})}


def settled(platform: FiguresPlatform, before: Mapping[str, Mapping[str, int]]) -> dict[str, dict[str, int]]:
    """Return what is there when all jobs are gone, and no more than before, or it has not changed for minutes."""
    until = time.monotonic() + _SETTLE_SECONDS
    while True:
        now = census(platform)
        if not now["objects"]["jobs"] and not more(before, now):
            return now
        if time.monotonic() > until:
            return now
        time.sleep(10)


def more(before: Mapping[str, Mapping[str, int]], now: Mapping[str, Mapping[str, int]]) -> dict[str, int]:
    """Return of what there is more than before, with how much more; of objects and what is on the node."""
    return {
        what: count - before[part].get(what, 0)
        for part in ("objects", "left")
        for what, count in now.get(part, {}).items()
        if part in before and count > before[part].get(what, 0)
    }


@contextlib.contextmanager
def trial_platform() -> Generator[tuple[FiguresPlatform, State]]:
    """Have an installation, which is kept, and what was done in it."""
    images = platform_images_of_figures()
    changes = {
        "runs": {"keepSeconds": KEEP_SECONDS, "pollSeconds": 5},
        "locations": {_UNPULLABLE: _unpullable(images)},
    }
    with figures_platform(changes, images, keep=True) as platform:
        state = State(**json.loads(STATE.read_text())) if STATE.is_file() else State()
        if state.namespace != platform.namespace.name:
            state = State(namespace=platform.namespace.name)
        say(f"{state.done} runs were done before")
        yield platform, state


def _unpullable(images: Mapping[str, str]) -> dict[str, Any]:
    small = {"cpu": "20m", "memory": "512Mi"}
    return {
        "tenant": "acme",
        "image": images["location"],
        "module": "figures",
        "server": small,
        "run": small,
        "guest": small,
        "images": {"langgraph": "localhost/not-there:1", "agno": "localhost/not-there:1"},
    }


def measure(count: int) -> Outcome:
    """Have `count` runs, those of earlier calls included, and tell what they left."""
    with trial_platform() as (platform, state):
        platform.end_all()
        if not state.warm:
            _warm(platform, state)
        began = time.monotonic()
        already = state.done
        Trial(platform, state).run(range(state.done, count))
        seconds = time.monotonic() - began
        say(f"{state.done - already} runs in {seconds:.0f} s; counting what is left")
        now = settled(platform, state.before)
    left = more(state.before, now)
    return Outcome(
        name="cluster-leftovers",
        title=f"What {state.done:,} runs leave",
        how=f"{state.done:,} runs on the cluster, {AT_ONCE} at once, jobs kept for {KEEP_SECONDS} s:"
        f" {', '.join(f'{number} of {what!r}' for what, number in sorted(state.fates.items()))}. Counted after twenty"
        " further runs and when they are over; `memory` in MB, of all processes of a program.",
        rows=_rows(state.before, now),
        findings=[
            "Nothing is left." if not left else f"More than before: {left}.",
            f"Runs that ended otherwise than they should: {len(state.unexpected)} {state.unexpected or ''}".rstrip(),
        ],
        failed=len(state.unexpected),
    )


def _warm(platform: FiguresPlatform, state: State) -> None:
    """Have everything there that first runs make, such as caches, and count."""
    warming = State()
    Trial(platform, warming).run(range(20))
    state.before = settled(platform, {})
    state.warm = True
    state.write()
    if warming.unexpected:
        say(f"  while warming up: {warming.unexpected}")


def _rows(
    before: Mapping[str, Mapping[str, int]], now: Mapping[str, Mapping[str, int]]
) -> list[dict[str, Cell]]:
    found = list[dict[str, Cell]]()
    for part, counts in now.items():
        unit = 2**20 if part == "memory" else 1
        for what in sorted(Counter(counts) | Counter(before.get(part, {}))):
            was, count = before.get(part, {}).get(what, 0), counts.get(what, 0)
            if was or count:
                found.append({"": f"{part}: {what}", "before": was // unit, "after": count // unit})
    return found


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="benchmarks.cluster_leftovers", description=__doc__)
    parser.add_argument("--runs", type=int, default=50, help="in all, those of earlier calls included")
    parser.add_argument("--keep", action="store_true", help="keep the installation: further runs go on in it")
    options = parser.parse_args()
    machine = describe_machine()
    print(markdown(measure(options.runs)))
    print(machine)
    if not options.keep:
        remove_kept()
        STATE.unlink()
    return 0


if __name__ == "__main__":
    sys.exit(main())
