"""What a guest server may do to the trusted side, in a process without the threads and descriptors of other tests."""

import subprocess
import sys
from pathlib import Path

TRIALS = Path(__file__).with_name("served_guardian_trials.py")
SECONDS = 200


def test_whatever_a_guest_server_does_is_told_and_nothing_is_kept() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(TRIALS)],
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-5_000:] + done.stderr[-2_000:]
    assert " passed" in done.stdout
