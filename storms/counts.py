"""What a storm comes to: which publishes reached a run, which did not and may not have, and which were lost."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import psycopg

_RUNS = """
SELECT tags.value, runs.run_id FROM run_tags AS tags JOIN runs USING (run_id)
WHERE tags.key = 'dagster/run_key' AND runs.status <> 'NOT_STARTED'
"""
_CURSORS = "SELECT instigator_body FROM instigators WHERE instigator_type = 'SENSOR'"


@dataclass(frozen=True, kw_only=True)
class Published:
    """What was published.

    Attributes:
        versions: Of each agent, in the order of their approval.
        withdrawn: Agent and version of those that were withdrawn afterwards.
    """

    versions: Mapping[str, list[str]] = field(default_factory=dict[str, list[str]])
    withdrawn: set[tuple[str, str]] = field(default_factory=set[tuple[str, str]])

    @property
    def count(self) -> int:
        """How many."""
        return sum(map(len, self.versions.values()))


@dataclass(frozen=True, kw_only=True)
class Counts:
    """See the module.

    Attributes:
        publishes: How many there were.
        asked: Runs that were asked for.
        lower: Publishes that were refused since a higher version was taken before they were there.
        unseen: Publishes that were withdrawn before anybody looked.
        lost: Publishes that came to nothing else.
        doubled: Publishes with more than one run, and runs that were started more than once.
    """

    publishes: int
    asked: int
    lower: int
    unseen: int
    lost: tuple[str, ...]
    doubled: tuple[str, ...]

    @property
    def settled(self) -> bool:
        """Whether every publish came to something."""
        return not self.lost


def counts(
    published: Published, runs: Mapping[str, list[str]], seen: Mapping[str, set[str]], launched: Iterable[str]
) -> Counts:
    """Count.

    Args:
        published: What was published.
        runs: Ids of the runs of each publish, as `agent version`.
        seen: Versions of each agent that its sensor has seen and is done with.
        launched: Ids of runs, each time that one was started.
    """
    lower, unseen, lost = 0, 0, list[str]()
    for agent, versions in published.versions.items():
        asked = [version for version in versions if f"{agent} {version}" in runs]
        highest = max(map(_numbers, asked), default=())
        for version in versions:
            if version in asked:
                continue
            if version in seen.get(agent, set()) and _numbers(version) < highest:
                lower += 1
            elif (agent, version) in published.withdrawn:
                unseen += 1
            else:
                lost.append(f"{agent} {version}")
    twice = [publish for publish, ids in runs.items() if len(ids) > 1]
    started = [run for run, times in Counter(launched).items() if times > 1]
    return Counts(
        publishes=published.count,
        asked=sum(map(len, runs.values())),
        lower=lower,
        unseen=unseen,
        lost=tuple(lost),
        doubled=(*twice, *started),
    )


def told_runs(database: str) -> dict[str, list[str]]:
    """Return the ids of the runs of each publish, as `agent version`, from Dagster's own tables."""
    found = dict[str, list[str]]()
    with psycopg.connect(database) as connection:
        for key, run in connection.execute(_RUNS):
            asset, _, publish = str(key).partition(" ")
            version = publish.partition("@")[0].rpartition(":")[2]
            found.setdefault(f"{asset.rpartition('/')[2]} {version}", []).append(str(run))
    return found


def told_seen(database: str) -> dict[str, set[str]]:
    """Return the versions of each agent that its sensor has seen and is done with, from the sensors' cursors.

    An agent whose sensor has not looked yet is missing.
    """
    found = dict[str, set[str]]()
    with psycopg.connect(database) as connection:
        for (body,) in connection.execute(_CURSORS):
            told: dict[str, dict[str, str | None] | None] = json.loads(str(body))
            name = str((told["origin"] or {})["job_name"])
            cursor = (told.get("job_specific_data") or {}).get("cursor")
            agent = name.removeprefix("acme__").removesuffix("_publishes").replace("_", "-")
            if cursor:
                found[agent] = set(json.loads(cursor)["versions"])
    return found


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))
