"""Running a foreign installer: its progress, its last words, its time."""

import os
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from orchestrator_runtimes.errors import AgentError, ErrorCode

INSTALL_SECONDS: Final = 1_800.0

_OWN_SETTINGS: Final = ("PYTHONDONTWRITEBYTECODE", "VIRTUAL_ENV", "PYTHONPATH", "PYTHONHOME")
_UNTOLD: Final = (" +", " -", " ~")
"""Beginnings of lines that are no progress."""


def run_installer(
    command: Sequence[str],
    *,
    name: str,
    progress: Callable[[str], None] | None = None,
    text: str | None = None,
    held: int | None = None,
    environment: Mapping[str, str] | None = None,
    folder: str | None = None,
) -> str:
    """Run an installer and return what it printed on standard output.

    Args:
        command: Program and arguments.
        name: What it works for, in errors.
        progress: Takes the lines of its standard error as they come; None keeps them for an error only.
        text: Its standard input; None gives none.
        held: Descriptor of a lock that it holds too, so that it is not let go while an orphaned installer still works.
        environment: Variables beside those of this process.
        folder: Where it works; None is here.

    Raises:
        AgentError: `agent_load_failed` with the last lines it said.
    """
    inherited = {key: value for key, value in os.environ.items() if key not in _OWN_SETTINGS}
    process = subprocess.Popen(
        command,
        env={**inherited, **(environment or {})},
        cwd=folder,
        stdin=subprocess.PIPE if text is not None else subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        pass_fds=() if held is None else (held,),
        text=True,
    )
    overdue = threading.Timer(INSTALL_SECONDS, process.kill)
    overdue.start()
    try:
        if progress is None or process.stderr is None:
            output, errors = process.communicate(text)
            said = errors.splitlines()
        else:
            said = list[str]()
            for line in process.stderr:
                said.append(line.rstrip())
                if not line.startswith(_UNTOLD):
                    progress(f"{name}: {line.strip()}")
            output, _ = process.communicate()
    finally:
        overdue.cancel()
        if process.poll() is None:
            process.kill()
            process.wait()
    if process.returncode != 0:
        why = "the installer refused"
        if process.returncode < 0:
            why = f"the installer was ended by signal {-process.returncode}; it may take {INSTALL_SECONDS:.0f} s"
        raise refused(name, why, "\n".join(said[-12:]))
    return output


def refused(name: str, why: str, cause: str | None) -> AgentError:
    """Return the error of an environment that cannot be installed."""
    return AgentError(
        ErrorCode.AGENT_LOAD_FAILED, f"the environment of {name!r} cannot be installed: {why}", cause=cause
    )
