"""Tests that count what is open in their process run in one without the threads and descriptors of others."""

import subprocess
import sys
from pathlib import Path

SECONDS = 250


def passes_alone(trials: Path) -> None:
    """Run the tests of a file in a process of its own; fail as they do.

    Args:
        trials: A file that is not collected by its name.
    """
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(trials)],
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-8_000:] + done.stderr[-2_000:]
    assert " passed" in done.stdout
