"""The Dagster instance of this checkout: its folder, and how `dg` runs the example in it."""

import os
from pathlib import Path
from typing import Final

from orchestrator_tools.steps import BIN, CHECKOUT

INSTANCE: Final = CHECKOUT / "var" / "dagster"
EXAMPLE: Final = CHECKOUT / "examples" / "dependency_review"

_SETTINGS: Final = "telemetry: {enabled: false}\nnux: {enabled: false}\n"


def prepare_instance(folder: Path = INSTANCE) -> Path:
    """Make the folder with its settings when it is missing; an existing `dagster.yaml` stays as it is."""
    folder.mkdir(parents=True, exist_ok=True)
    settings = folder / "dagster.yaml"
    if not settings.exists():
        settings.write_text(_SETTINGS)
    return folder


def instance_environment() -> dict[str, str]:
    """Return the environment for `dg`: this instance, and the programs of this virtual environment first."""
    return {
        **os.environ,
        "DAGSTER_HOME": str(INSTANCE),
        "PATH": f"{BIN}:{os.environ.get('PATH', os.defpath)}",
    }
