"""Steps of a make target: named commands, run a few at a time, whose output is shown when they fail."""

import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

CHECKOUT: Final = Path(__file__).parents[2]
BIN: Final = Path(sys.executable).parent
STEP_SECONDS: Final = 1_200.0
"""A step that takes longer is hanging: the slowest takes about a minute on two cores."""


@dataclass(frozen=True, kw_only=True)
class Step:
    """A command and what people call it.

    Attributes:
        name: Shown with its result.
        command: Program and arguments, run in the checkout.
        environment: Variables beside those of this process.
    """

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, kw_only=True)
class Finished:
    """How a step ended: `status` 0 is good, `output` is all it printed."""

    step: Step
    status: int
    output: str
    seconds: float


def say(text: str) -> None:
    """Print a line at once, also into a pipe."""
    print(text, flush=True)


def run_step(step: Step) -> Finished:
    """Run one step to its end and keep what it prints."""
    began = time.monotonic()
    try:
        process = subprocess.run(
            step.command,
            cwd=CHECKOUT,
            env={**os.environ, **step.environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=STEP_SECONDS,
            check=False,
        )
        status, output = process.returncode, process.stdout
    except subprocess.TimeoutExpired as error:
        status, output = 124, f"{error}\n"
    except OSError as error:
        status, output = 127, f"{error}\n"
    return Finished(step=step, status=status, output=output, seconds=time.monotonic() - began)


def run_steps(steps: Sequence[Step], jobs: int) -> list[Finished]:
    """Run steps, `jobs` at a time, and print one line for each, with the whole output of those that fail.

    Returns:
        Every step's end, in the order in which they ended.
    """
    done: list[Finished] = []
    with ThreadPoolExecutor(jobs) as pool:
        for future in as_completed([pool.submit(run_step, step) for step in steps]):
            finished = future.result()
            done.append(finished)
            verdict = "passed" if finished.status == 0 else f"FAILED with status {finished.status}"
            say(f"  {finished.step.name:<32} {verdict}, {finished.seconds:.1f} s")
            if finished.status != 0:
                say("".join(f"    {line}\n" for line in finished.output.rstrip().splitlines()))
    return done
