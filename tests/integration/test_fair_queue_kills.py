"""A daemon that is killed at any moment of a tick loses no run, and starts none twice."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.queue_kills import PLACES

ROOT = Path(__file__).parents[2]


@pytest.mark.timeout(300)
def test_a_daemon_killed_at_every_boundary_of_a_tick_starts_the_same_runs_each_once(
    tmp_path: Path,
) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "tests.integration.queue_kills", str(tmp_path)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert len(found["undisturbed"]) == PLACES
    assert len(found["killed"]) >= 4 * PLACES, "every run is some changes of the database, and a start"
    wanted = sorted(found["undisturbed"])
    assert [at for at, runs in enumerate(found["killed"]) if sorted(runs) != wanted] == []
