"""Runs the programs that build and keep the test cluster, and says what went wrong in one line and a tail."""

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

TAIL_LINES: Final = 15
"""Of a log, in an error: enough for the reason, little enough for a terminal."""


class ClusterError(Exception):
    """The cluster cannot be made or used; the message says what is wrong and what to do."""


def tail(text: str, lines: int = TAIL_LINES) -> str:
    """Return the last lines of a log, indented."""
    return "".join(f"    {line}\n" for line in text.rstrip().splitlines()[-lines:])


def run(
    words: Sequence[str | Path],
    *,
    seconds: float,
    environment: Mapping[str, str] | None = None,
    folder: Path | None = None,
    text: str = "",
) -> str:
    """Run a program to its end and return its standard output.

    Args:
        words: Program and arguments.
        seconds: How long it may take.
        environment: Variables beside those of this process.
        folder: Where it runs; None for here.
        text: Its standard input.

    Raises:
        ClusterError: It is not there, failed, or took too long; with the end of what it said.
    """
    command = [str(word) for word in words]
    name = Path(command[0]).name
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            env={**os.environ, **(environment or {})},
            input=text,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=seconds,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise ClusterError(f"{name} did not end within {seconds:.0f} s: {' '.join(command)}") from error
    except OSError as error:
        raise ClusterError(f"{name} cannot be started: {error}") from error
    if done.returncode != 0:
        said = tail(done.stderr or done.stdout)
        raise ClusterError(f"{name} ended with status {done.returncode}: {' '.join(command)}\n{said}")
    return done.stdout
