"""`make kill`: kills what runs agents, at every boundary and at random moments, and counts what is repeated."""

import argparse
import os
import queue
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from kills.reports import line, sums
from kills.schedules import Trial, exhaustive, exhaustive_external, random_trial, undisturbed
from kills.trials import Ended, Room, start_forks
from kills.witness import Witness

FRAMEWORKS: Final = ("agentscope", "agno", "crewai", "langgraph", "lightagent", "n8n")


def say(text: str) -> None:
    """Print a line at once, also into a pipe."""
    print(text, flush=True)


def trials(
    frameworks: list[str], seeds: list[int], *, boundaries: bool, natives: tuple[bool, ...]
) -> Iterator[Trial]:
    """Yield every trial of a command line, in order."""
    if boundaries:
        for framework in frameworks:
            for native in natives:
                yield undisturbed(framework, native=native)
                yield from exhaustive(framework, native=native)
                yield from exhaustive_external(framework, native=native)
    for number, seed in enumerate(seeds):
        yield random_trial(frameworks[number % len(frameworks)], seed)


def run_all(todo: list[Trial], workers: int) -> list[Ended]:
    """Run trials, as many at once as there are workers, and return how they ended."""
    waiting: queue.SimpleQueue[Trial] = queue.SimpleQueue()
    for trial in todo:
        waiting.put(trial)
    ended: list[Ended] = []
    with tempfile.TemporaryDirectory(prefix="k") as folder, Witness() as witness:

        def work(number: int) -> None:
            room = Room(Path(folder) / str(number), witness)
            try:
                while True:
                    try:
                        trial = waiting.get_nowait()
                    except queue.Empty:
                        return
                    ended.append(room.run(trial))
                    say(line(ended[-1], len(ended), len(todo)))
            finally:
                room.close()

        threads = [threading.Thread(target=work, args=(number,)) for number in range(workers)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    return ended


def main() -> int:
    """Run the command line and return its exit status: 1 when anything was repeated or wrong."""
    parser = argparse.ArgumentParser(prog="kills", description=__doc__)
    parser.add_argument("--seeds", type=int, default=60, help="random trials, over all frameworks")
    parser.add_argument("--first-seed", type=int, default=1)
    parser.add_argument("--framework", action="append", choices=FRAMEWORKS, help="all by default")
    parser.add_argument("--no-boundaries", action="store_true", help="only random trials")
    parser.add_argument("--only", help="a trial by its name, as it is printed")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="trials at once")
    options = parser.parse_args()
    frameworks: list[str] = list(options.framework or FRAMEWORKS)
    seeds = list(range(options.first_seed, options.first_seed + options.seeds))
    todo = list(trials(frameworks, seeds, boundaries=not options.no_boundaries, natives=(False,)))
    if options.only:
        todo = named(options.only)
    began = time.monotonic()
    start_forks()
    ended = run_all(todo, options.workers)
    say(sums(ended, time.monotonic() - began))
    return 1 if any(one.problems for one in ended) or len(ended) != len(todo) else 0


def named(name: str) -> list[Trial]:
    """Return the trial with a name."""
    framework, _, seed = name.rpartition("-")
    if seed.isdigit():
        return [random_trial(framework, int(seed))]
    every = trials(list(FRAMEWORKS), [], boundaries=True, natives=(False, True))
    return [trial for trial in every if trial.name == name]


if __name__ == "__main__":
    sys.exit(main())
