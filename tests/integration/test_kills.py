"""`make kill` in short, and that its witness sees what it is there to see."""

import subprocess
import sys
from itertools import product
from pathlib import Path
from urllib.error import HTTPError

import pytest

from kills.agents.tools import tell
from kills.boundaries import boundaries
from kills.plot import ROUNDS, marker
from kills.records import SqliteRecords
from kills.schedules import random_trial
from kills.witness import Witness

ROOT = Path(__file__).parents[2]
NOTHING_WRONG = "repeated model calls 0, repeated tools 0, wrong outputs 0"


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    "trial",
    [
        "agno-guest",
        "langgraph-native-host+gateway",
        "lightagent-gateway",
        "agentscope-native-guest",
        "agno-gateway+database",
        "n8n-native-guest",
    ],
)
def test_what_is_killed_at_every_boundary_repeats_nothing(trial: str) -> None:
    words = [sys.executable, "-m", "kills", "--only", trial]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    last = done.stdout.splitlines()[-1]
    assert last.endswith(NOTHING_WRONG) and "kills 0" not in last


def test_the_witness_counts_tools_that_run_twice(tmp_path: Path) -> None:
    with Witness() as witness:
        watch = witness.begin("t", SqliteRecords(tmp_path), {})
        for _ in range(2):
            assert tell(witness.address("t"), "order", marker(1), 1).startswith("<KILL-1 1 order ")
            tell(witness.address("t"), "read", marker(1), 0)
        witness.end("t")
        assert watch.counts == {"repeated_tools": 1, "tools_again": 1}
        assert watch.problems == ["the tool order 1 of KILL-1 ran again"]
        with pytest.raises(HTTPError) as gone:
            tell(witness.address("t"), "order", marker(1), 1)  # a trial that is over counts nothing
        gone.value.close()


def test_a_seed_fixes_a_trial_and_every_call_has_its_boundaries() -> None:
    assert random_trial("agno", 7) == random_trial("agno", 7) != random_trial("agno", 8)
    jobs = [random_trial("n8n", seed).job for seed in range(40)]
    assert {(job.native, job.external) for job in jobs} == set(product((False, True), repeat=2))
    held = boundaries(held=True)
    assert len(set(held)) == len(held) == 2 * (len(ROUNDS) + 1 + sum(map(len, ROUNDS)))
