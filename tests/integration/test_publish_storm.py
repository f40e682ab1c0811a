"""`make publish-storm` in short, and that it sees what it is there to see."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from storms.counts import Published, counts
from storms.kills import schedule

ROOT = Path(__file__).parents[2]
LAST = re.compile(
    r"publishes (\d+), runs asked (\d+), refused as lower (\d+), withdrawn before a look (\d+), lost 0, doubled 0,"
    r" kills (\d+), \d+ s"
)


@pytest.mark.timeout(300)
def test_publishes_reach_runs_once_while_everything_is_killed() -> None:
    words = ["-m", "storms", "--publishes", "12", "--agents", "3", "--kills", "5", "--seed", "3"]
    done = subprocess.run(
        [sys.executable, *words],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT / "tools")},
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = LAST.fullmatch(done.stdout.splitlines()[-1])
    assert found is not None, done.stdout
    publishes, asked, lower, unseen, kills = map(int, found.groups())
    assert (publishes, kills) == (12, 5) and asked + lower + unseen == publishes and asked > lower + unseen


def test_what_is_lost_or_doubled_is_counted() -> None:
    published = Published(
        versions={"a": ["1.0.0", "1.2.0", "1.1.0", "1.10.0"], "b": ["1.0.0", "1.1.0"]},
        withdrawn={("b", "1.1.0")},
    )
    runs = {"a 1.2.0": ["one"], "a 1.10.0": ["two", "three"]}
    found = counts(published, runs, {"a": {"1.0.0", "1.2.0", "1.1.0"}}, ["one", "two", "two"])
    assert (found.publishes, found.asked, found.lower, found.unseen) == (6, 3, 2, 1)
    assert found.lost == ("b 1.0.0",) and found.doubled == ("a 1.10.0", "two") and not found.settled


def test_a_seed_fixes_what_is_killed_when() -> None:
    assert schedule(100, 20, 3, 7) == schedule(100, 20, 3, 7) != schedule(100, 20, 3, 8)
    told = schedule(100, 200, 3, 1)
    assert {kill.victim for kill in told} == {
        "daemon",
        "every daemon",
        "code",
        "market",
        "registry",
        "database",
    }
    assert [kill.after for kill in told] == sorted(kill.after for kill in told)
