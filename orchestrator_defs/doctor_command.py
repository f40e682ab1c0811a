"""`orchestrator runtimes doctor`: is everything here that agents need, and does it work?"""

import asyncio
import os
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import click
from uv import find_uv_bin

from orchestrator_resources.embedded_model.service import EmbeddedModel
from orchestrator_resources.environments import SPARE_BYTES, EnvironmentStore
from orchestrator_resources.homes import home_folder
from orchestrator_runtimes.errors import AgentError
from orchestrator_runtimes.guest_commands import GuestCommand
from orchestrator_runtimes.launch import GuestProcess
from orchestrator_runtimes.profiles import FrameworkProfile, installed_frameworks

MODEL_SECONDS = 30.0


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What one check found.

    Attributes:
        name: Of the check.
        good: False when something must be done.
        text: What was found, and what to do where `good` is False.
    """

    name: str
    good: bool
    text: str


@click.command()
def doctor() -> None:
    """Check this machine: Python, installer, disk, each installed runtime (it is started), the embedded model.

    The exit status is 1 when something must be done; the line says what.
    """
    home = home_folder()
    bad = 0
    for finding in findings(home):
        bad += not finding.good
        click.echo(f"{'ok ' if finding.good else 'BAD'}  {finding.name}: {finding.text}")
    click.echo(f"{bad} to mend" if bad else "nothing to mend")
    sys.exit(1 if bad else 0)


def findings(home: Path) -> Iterator[Finding]:
    """Make every check and yield what it found, in order."""
    yield Finding(name="python", good=True, text=sys.version.split()[0])
    yield _installer()
    yield _disk(home)
    store = EnvironmentStore(home)
    for folder in store.remains():
        text = (
            f"an install was cut off: `orchestrator runtimes remove {folder.name[:12]}`, or install it again"
        )
        yield Finding(name="environments", good=False, text=text)
    for name, profile in installed_frameworks().items():
        environment = store.find(profile.lock())
        if environment is None:
            yield Finding(name=name, good=True, text=f"not installed; `orchestrator runtimes install {name}`")
        else:
            yield _checked(name, lambda p=profile, e=environment: _start(p, e.python))  # type: ignore[misc]
    if url := os.environ.get("ORCHESTRATOR_MODEL_URL"):
        yield _checked("model", lambda: _ask(url, os.environ.get("ORCHESTRATOR_MODEL_KEY")))
    elif EmbeddedModel(home).installed:
        yield _checked("embedded model", lambda: _ask_model(home))
    else:
        yield Finding(
            name="embedded model", good=True, text="not installed; the first agent that needs it installs it"
        )


def _checked(name: str, check: Callable[[], str]) -> Finding:
    try:
        return Finding(name=name, good=True, text=check())
    except OSError as error:
        return Finding(name=name, good=False, text=str(error))
    except AgentError as error:
        remedy = f"; `orchestrator runtimes remove {name}` and install it again"
        return Finding(
            name=name, good=False, text=f"{error}{remedy if name in installed_frameworks() else ''}"
        )


def _installer() -> Finding:
    try:
        said = subprocess.run(
            [find_uv_bin(), "--version"], capture_output=True, text=True, timeout=30, check=True
        ).stdout
    except (OSError, subprocess.SubprocessError) as error:
        return Finding(
            name="installer", good=False, text=f"uv does not run ({error}): install agent-orchestrator again"
        )
    return Finding(name="installer", good=True, text=said.strip())


def _disk(home: Path) -> Finding:
    place = home
    while not place.exists():
        place = place.parent
    if not place.is_dir() or not os.access(place, os.W_OK):
        text = f"{home} cannot be written to: set ORCHESTRATOR_HOME to a folder that can"
        return Finding(name="home", good=False, text=text)
    free = shutil.disk_usage(place).free
    if free < SPARE_BYTES:
        text = (
            f"only {free / 2**20:.0f} MB are free below {home}: set ORCHESTRATOR_HOME to a folder with more"
        )
        return Finding(name="home", good=False, text=text)
    return Finding(name="home", good=True, text=f"{home}, {free / 2**30:.0f} GB free")


def _start(profile: FrameworkProfile, python: Path) -> str:
    async def start() -> str:
        guest = await GuestProcess.start(GuestCommand.of(profile, python))
        try:
            runtime = guest.client.runtime
            return f"{profile.title} {runtime.framework_version} starts, on Python {runtime.python}"
        finally:
            await guest.stop()

    return asyncio.run(start())


def _ask_model(home: Path) -> str:
    with EmbeddedModel(home, progress=lambda _line: None).acquire() as address:
        return _ask(address.base_url, address.api_key)


def _ask(url: str, key: str | None) -> str:
    """Return what a model endpoint answers when it is asked for its models.

    Raises:
        OSError: It cannot be reached, or refuses.
    """
    headers = {"authorization": f"Bearer {key}"} if key is not None else {}
    try:
        request = urllib.request.Request(f"{url.rstrip('/')}/models", headers=headers)
        with urllib.request.urlopen(request, timeout=MODEL_SECONDS) as answer:
            return f"{url} answers with status {answer.status}"
    except (OSError, ValueError) as error:
        raise OSError(f"{url} does not answer as a model endpoint: {error}") from error
