"""Where things are kept on this machine."""

import os
from pathlib import Path


def home_folder() -> Path:
    """Return the folder of environments, models and caches: `ORCHESTRATOR_HOME`, else below the user's data folder."""
    if named := os.environ.get("ORCHESTRATOR_HOME"):
        return Path(named).expanduser().absolute()
    data = os.environ.get("XDG_DATA_HOME") or "~/.local/share"
    return Path(data).expanduser() / "orchestrator"
