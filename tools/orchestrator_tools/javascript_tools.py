"""What works on the JavaScript of the repository: npm packages by a lock of their own, run by a Node that is there."""

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
    """Return the folder of the installed packages, a `node_modules`.

    Args:
        wheel: Folder of Node, as `node_wheel` finds it.

    Raises:
        NotInstalled: npm refused.
    """
    packages = INSTALLED / "node_modules"
    lock, marker = (SOURCES / "package-lock.json").read_text(), INSTALLED / "installed.json"
    if marker.is_file() and marker.read_text() == lock:
        return packages
    shutil.rmtree(INSTALLED, ignore_errors=True)
    INSTALLED.mkdir(parents=True)
    for name in ("package.json", "package-lock.json"):
        shutil.copy(SOURCES / name, INSTALLED)
    if subprocess.run(npm_command(wheel, "ci", "--ignore-scripts"), cwd=INSTALLED, check=False).returncode:
        raise NotInstalled("npm did not install the TypeScript compiler")
    marker.write_text(lock)
    return packages
