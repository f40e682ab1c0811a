"""pytest plug-in: guests that a test starts measure their coverage too.

A guest inherits nothing, so what coverage needs is added to its environment here. The framework's environment stays as
its lock says: coverage comes from a folder of its own, `var/guest-coverage`.
"""

from pathlib import Path
from typing import Final

import pytest

from orchestrator_runtimes import launch, spares
from orchestrator_runtimes.guest_commands import GuestCommand, guest_environment
from orchestrator_tools.steps import CHECKOUT

GUEST_PACKAGES: Final = (CHECKOUT / "tools" / "guest_coverage", CHECKOUT / "var" / "guest-coverage")
DATA_FILE: Final = CHECKOUT / "var" / "coverage" / "data"


def measured(environment: dict[str, str]) -> dict[str, str]:
    """Return a guest's environment with coverage in it."""
    return environment | {
        "PYTHONPATH": ":".join([environment["PYTHONPATH"], *map(str, GUEST_PACKAGES)]),
        "COVERAGE_PROCESS_START": str(CHECKOUT / "pyproject.toml"),
        "COVERAGE_FILE": str(DATA_FILE),
    }


@pytest.fixture(scope="session", autouse=True)
def measured_guests() -> object:
    """Start every guest of the session with coverage."""

    def environment(command: GuestCommand, folder: Path) -> dict[str, str]:
        return measured(guest_environment(command, folder))

    with pytest.MonkeyPatch.context() as patch:
        for starter in launch, spares:
            patch.setattr(starter, "guest_environment", environment)
        yield
