"""`make publish-storm`: publishes at a real marketplace and registry, while everything is killed; counts what runs."""

import argparse
import random
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from storms.counts import Counts, Published, counts, told_runs, told_seen
from storms.kills import Killer
from storms.platforms import Platform
from storms.publishers import StormPublisher

AT_ONCE: Final = 5
"""Versions of an agent that are submitted together, and approved in any order."""

WITHDRAWN_SHARE: Final = 0.05
REPLAYED_SHARE: Final = 0.2
SHUFFLED_SHARE: Final = 0.05
LONGEST_BEFORE_WITHDRAWAL_SECONDS: Final = 20.0
PUBLISHERS: Final = 4
SETTLE_SECONDS: Final = 600.0
"""How long the last publishes may take to become runs, once nothing is killed any more."""

_PAUSE_SECONDS: Final = 1.0


def say(text: str) -> None:
    """Print a line at once, also into a pipe."""
    print(text, flush=True)


def publish_all(
    platform: Platform, agents: dict[str, int], seed: int, passed: Callable[[], None]
) -> Published:
    """Publish so many versions of each agent, several agents at once, and return what was published.

    Args:
        platform: Where.
        agents: How many versions, by agent.
        seed: Of the order of approvals, of withdrawals and replays.
        passed: Called after each approval.
    """
    published = Published(versions={agent: [] for agent in agents})

    def one(agent: str) -> None:
        chance = random.Random(f"{seed} {agent}")
        publisher = StormPublisher(platform, platform.folder / f"bundles-{agent}")
        try:
            left = [f"1.{number}.0" for number in range(agents[agent])]
            while left:
                batch, left = left[:AT_ONCE], left[AT_ONCE:]
                sent = [
                    publisher.submit(agent, version, publisher.store(agent, version)) for version in batch
                ]
                # most in their order; a publish that a higher one overtakes is refused, which is counted
                if chance.random() < SHUFFLED_SHARE:
                    chance.shuffle(batch)
                for version in batch:
                    sent.append(publisher.approve(agent, version))
                    published.versions[agent].append(version)
                    passed()
                    if chance.random() < WITHDRAWN_SHARE:
                        time.sleep(chance.random() * LONGEST_BEFORE_WITHDRAWAL_SECONDS)
                        sent.append(publisher.withdraw(agent, version))
                        published.withdrawn.add((agent, version))
                if chance.random() < REPLAYED_SHARE:
                    chance.shuffle(sent)
                    publisher.replay(sent)
        finally:
            publisher.close()

    with ThreadPoolExecutor(PUBLISHERS) as pool:
        for done in [pool.submit(one, agent) for agent in agents]:
            done.result()
    return published


def storm(folder: Path, publishes: int, agents: int, kills: int, seed: int) -> tuple[Counts, int]:
    """Run a storm, and return its counts and how many kills there were.

    Args:
        folder: Of everything; empty.
        publishes: How many.
        agents: Over how many agents.
        kills: How many, spread over the publishes.
        seed: Of all that is random but the scheduling of processes.
    """
    names = [f"agent-{number}" for number in range(agents)]
    wanted = {name: publishes // agents + (number < publishes % agents) for number, name in enumerate(names)}
    platform = Platform(folder, names)
    try:
        platform.start()
        _wait(lambda: len(told_seen(platform.database)) == agents, "every sensor has looked once")
        registrar = StormPublisher(platform, folder / "registrar")
        registrar.register()
        registrar.close()
        killer = Killer(platform, publishes, kills, seed)
        with killer:
            published = publish_all(platform, wanted, seed, killer.passed)
        found = _settled(platform, published)
        return found, killer.done
    finally:
        platform.close()


def _settled(platform: Platform, published: Published) -> Counts:
    until = time.monotonic() + SETTLE_SECONDS
    while True:
        launched = platform.launched.read_text().split() if platform.launched.exists() else []
        found = counts(published, told_runs(platform.database), told_seen(platform.database), launched)
        if found.settled or time.monotonic() > until:
            return found
        time.sleep(_PAUSE_SECONDS)


def _wait(condition: Callable[[], bool], what: str) -> None:
    until = time.monotonic() + SETTLE_SECONDS
    while not condition():
        if time.monotonic() > until:
            raise RuntimeError(f"not within {SETTLE_SECONDS:.0f} s: {what}")
        time.sleep(_PAUSE_SECONDS)


def main() -> int:
    """Run the command line and return its exit status: 1 when anything was lost or doubled."""
    parser = argparse.ArgumentParser(prog="storms", description=__doc__)
    parser.add_argument("--publishes", type=int, default=1_000)
    parser.add_argument("--agents", type=int, default=20)
    parser.add_argument("--kills", type=int, default=60)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="storm-") as folder:
        found, killed = storm(Path(folder), options.publishes, options.agents, options.kills, options.seed)
    for kind, which in (("lost", found.lost), ("doubled", found.doubled)):
        for publish in which:
            say(f"{kind}: {publish}")
    say(
        f"publishes {found.publishes}, runs asked {found.asked}, refused as lower {found.lower},"
        f" withdrawn before a look {found.unseen}, lost {len(found.lost)}, doubled {len(found.doubled)},"
        f" kills {killed}, {time.monotonic() - began:.0f} s"
    )
    return 1 if found.lost or found.doubled else 0


if __name__ == "__main__":
    sys.exit(main())
