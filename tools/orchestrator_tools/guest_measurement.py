"""pytest plug-in: guests and gateways that a test starts measure their coverage too.

A guest inherits nothing, so what coverage needs is added to its environment here. The framework's environment stays as
its lock says: coverage comes from a folder of its own, `var/guest-coverage`, and that of JavaScript from Node itself.
"""

import json
from pathlib import Path
from typing import Final

import pytest

from orchestrator_resources import gateway
from orchestrator_resources.gateway import gateway_environment
from orchestrator_runtimes import guardians, spares
from orchestrator_runtimes.guest_commands import GuestCommand, guest_environment
from orchestrator_tools.steps import CHECKOUT

GUEST_COVERAGE: Final = CHECKOUT / "tools" / "guest_coverage"
GUEST_PACKAGES: Final = (GUEST_COVERAGE, CHECKOUT / "var" / "guest-coverage")
DATA_FILE: Final = CHECKOUT / "var" / "coverage" / "data"
JAVASCRIPT_DATA: Final = CHECKOUT / "var" / "coverage-javascript"
"""Gets a file of each process of Node that ran JavaScript of ours."""


def measured_javascript() -> dict[str, str]:
    """Return the variables with which a process of Node notes what it runs; the folder that gets it is made."""
    JAVASCRIPT_DATA.mkdir(parents=True, exist_ok=True)
    return {
        "NODE_OPTIONS": f"--require {json.dumps(str(GUEST_COVERAGE / 'measure_javascript.cjs'))}",
        "COVERAGE_JAVASCRIPT": str(JAVASCRIPT_DATA),
    }


def measured(environment: dict[str, str]) -> dict[str, str]:
    """Return the environment of a guest or a gateway with coverage in it."""
    own = [environment["PYTHONPATH"]] if "PYTHONPATH" in environment else []
    return environment | {
        **measured_javascript(),
        "PYTHONPATH": ":".join([*own, *map(str, GUEST_PACKAGES)]),
        "COVERAGE_PROCESS_START": str(CHECKOUT / "pyproject.toml"),
        "COVERAGE_FILE": str(DATA_FILE),
    }


def pytest_configure(config: pytest.Config) -> None:
    """Start every guest of the session with coverage: no fixture, since another's may start a guest before it."""

    def environment(command: GuestCommand, folder: Path) -> dict[str, str]:
        return measured(guest_environment(command, folder))

    patch = pytest.MonkeyPatch()
    config.add_cleanup(patch.undo)
    for starter in guardians, spares:
        patch.setattr(starter, "guest_environment", environment)
    patch.setattr(gateway, "gateway_environment", lambda: measured(gateway_environment()))
