"""`make isolation`: tries everything that Dagster can be asked for as another tenant, and counts what it reached.

The last line is `isolation: N roots, N mutations, N subscriptions, N routes; N foreign reads, N foreign writes`. Exit
status 1 when a test failed, which it does for anything that is reached, and for anything that is not classified.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Final

from orchestrator_tools.steps import CHECKOUT, say

_TESTS: Final = (
    "tests/unit/tenancy/test_web_policy.py",
    "tests/integration/test_isolation_hostile.py",
    "tests/integration/test_isolation_reads.py",
    "tests/integration/test_isolation_routes.py",
    "tests/integration/test_isolation_writes.py",
)
_COUNTS: Final = CHECKOUT / "var" / "results" / "isolation.json"
_TRIED: Final = ("roots", "mutations", "subscriptions", "routes")
_REACHED: Final = ("reads", "writes")


def told(counts: Path) -> str:
    """Return the line that says what was tried and reached; what was not counted is none."""
    counted: dict[str, int] = json.loads(counts.read_text()) if counts.exists() else {}
    tried = ", ".join(f"{counted.get(kind, 0)} {kind}" for kind in _TRIED)
    reached = ", ".join(f"{counted.get(kind, 0)} foreign {kind}" for kind in _REACHED)
    return f"isolation: {tried}; {reached}"


def main() -> int:
    """Run the tests and return their status."""
    _COUNTS.parent.mkdir(parents=True, exist_ok=True)
    _COUNTS.unlink(missing_ok=True)
    status = subprocess.run(
        [sys.executable, "-m", "pytest", "--quiet", "--timeout=600", *sys.argv[1:], *_TESTS],
        cwd=CHECKOUT,
        env={**os.environ, "ISOLATION_COUNTS": str(_COUNTS), "DAGSTER_DISABLE_TELEMETRY": "1"},
        check=False,
    ).returncode
    say(told(_COUNTS))
    return 1 if status else 0


if __name__ == "__main__":
    sys.exit(main())
