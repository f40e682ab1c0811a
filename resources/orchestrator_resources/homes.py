"""Where things are kept on this machine."""

import os
from pathlib import Path


def home_folder() -> Path:
    """Return the folder of environments, models and caches: `ORCHESTRATOR_HOME`, else below the user's data folder."""
    if named := os.environ.get("ORCHESTRATOR_HOME"):
        return Path(named).expanduser().absolute()
    data = os.environ.get("XDG_DATA_HOME") or "~/.local/share"
    return Path(data).expanduser() / "orchestrator"


def guests_folder() -> Path | None:
    """Return what holds the guest servers' folders, `ORCHESTRATOR_GUESTS`; None where guests are started here."""
    named = os.environ.get("ORCHESTRATOR_GUESTS")
    return Path(named).absolute() if named else None
