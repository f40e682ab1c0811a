"""What works on the JavaScript of the repository: npm packages by a lock of their own, run by a Node that is there."""

import fcntl
import shutil
import subprocess
from pathlib import Path
from typing import Final

from orchestrator_resources.node_packages import npm_command
from orchestrator_tools.steps import CHECKOUT

SOURCES: Final = CHECKOUT / "tools" / "javascript"
INSTALLED: Final = CHECKOUT / "var" / "javascript"
"""The packages, installed again when their lock changes."""


class NotInstalled(Exception):
    """npm did not install them; it has said why."""


def install_tools(wheel: Path) -> Path:
    """Return the folder of the installed tools; see `install_packages`."""
    return install_packages(wheel, SOURCES, INSTALLED)


def install_packages(wheel: Path, sources: Path, installed: Path) -> Path:
    """Return a `node_modules`, installed from a lock where it is not there; no script of the packages runs.

    Args:
        wheel: Folder of Node, as `node_wheel` finds it.
        sources: Folder of `package.json` and `package-lock.json`.
        installed: Where they are installed; replaced when the lock changes. Several processes may ask at once.

    Raises:
        NotInstalled: npm refused.
    """
    installed.parent.mkdir(parents=True, exist_ok=True)
    packages = installed / "node_modules"
    lock, marker = (sources / "package-lock.json").read_text(), installed / "installed.json"
    with installed.with_suffix(".lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        if marker.is_file() and marker.read_text() == lock:
            return packages
        shutil.rmtree(installed, ignore_errors=True)
        installed.mkdir()
        for name in ("package.json", "package-lock.json"):
            shutil.copy(sources / name, installed)
        if subprocess.run(
            npm_command(wheel, "ci", "--ignore-scripts"), cwd=installed, check=False
        ).returncode:
            raise NotInstalled(f"npm did not install the packages of {sources / 'package-lock.json'}")
        marker.write_text(lock)
    return packages
