"""Spare guests: started ahead, so that the next run need not wait until a framework is imported.

A spare has imported its framework and nothing else. It is used by one run, once, so runs share no more than they do
without spares. Its guardian waits at a socket in a folder that only this user can enter; whoever connects first has it.
Where a framework's guest costs too much for that, one guest is shared: everyone who connects has it, and it waits again
when the last one has left.
"""

import fcntl
import hashlib
import json
import os
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from orchestrator_runtimes.errors import AgentError
from orchestrator_runtimes.guest_commands import (
    GuestCommand,
    guardian_words,
    guest_environment,
    make_guest_folder,
    package_folder,
)
from orchestrator_runtimes.private_folders import private_folder

_CLAIM_SECONDS: Final = 2.0
_SHARE_SECONDS: Final = 5.0
"""A guardian listens as soon as it runs, before its guest does."""
_CODE: Final = (".py", ".js", ".json")
_ADDRESS_BYTES: Final = 100
"""Longest path of a unix socket that every system takes, less some for the process id."""


@dataclass(frozen=True, kw_only=True)
class Spare:
    """A claimed spare, or a share of a guest.

    Attributes:
        guardian: Process id of its guardian.
        connection: To the guardian; the guest lives at least as long as this is open.
        errors: Descriptor of the guest's standard error, owned by whoever claimed it.
        folder: The guest's folder.
    """

    guardian: int
    connection: socket.socket
    errors: int
    folder: Path


def leave(command: GuestCommand) -> bool:
    """Start a spare guest that outlives this process, unless one of its kind waits, or one for each core.

    Returns:
        Whether one was started.
    """
    place = _place() if command.spare_seconds > 0 else None
    if place is None:
        return False
    kind = _kind(command)
    waiting = [path for path in place.iterdir() if _alive(path)]
    if len(waiting) >= (os.cpu_count() or 1) or any(path.name.startswith(kind) for path in waiting):
        return False
    prefix = place / kind
    if len(os.fsencode(prefix)) > _ADDRESS_BYTES:
        return False
    return _start(command, prefix)


def share(command: GuestCommand) -> Spare | None:
    """Return a share of the one guest that was started in exactly this way, and start it where none runs.

    None when there can be none: the caller starts a guest of its own.
    """
    place = _place() if command.spare_seconds > 0 else None
    prefix = place and place / _kind(command)
    if place is None or prefix is None or len(os.fsencode(prefix)) > _ADDRESS_BYTES:
        return None
    with _locked(place):  # of two that come at the same time, one starts it
        found = claim(command)
        if found is None and _start(command, prefix, "--shared"):
            until = time.monotonic() + _SHARE_SECONDS
            while found is None and time.monotonic() < until:
                time.sleep(0.01)
                found = claim(command)
        return found


@contextmanager
def _locked(place: Path) -> Generator[None]:
    folder = os.open(place, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


def _start(command: GuestCommand, prefix: Path, *options: str) -> bool:
    """Start a guest that outlives this process and waits at `prefix`; return whether that was possible."""
    try:
        folder = make_guest_folder(command)
    except AgentError:
        return False  # the next run starts its guest itself, and says what is wrong
    options = ("--spare", str(prefix), "--idle-seconds", str(command.spare_seconds), *options)
    try:
        process = subprocess.Popen(
            guardian_words(command, folder, *options),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=folder,
            env=guest_environment(command, folder),
            start_new_session=True,
        )
    except OSError:
        shutil.rmtree(folder)
        return False
    # collected if it ends before this process does
    threading.Thread(target=process.wait, name="spare-guest", daemon=True).start()
    return True


def claim(command: GuestCommand) -> Spare | None:
    """Return a spare that was started in exactly this way, or None when none waits."""
    place = _place() if command.spare_seconds > 0 else None
    if place is None:
        return None
    for path in sorted(place.glob(f"{_kind(command)}-*")):
        spare = _claim(path)
        if spare is not None:
            return spare
    return None


def _claim(path: Path) -> Spare | None:
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(_CLAIM_SECONDS)
    errors: list[int] = []
    try:
        connection.connect(str(path))
        hello, errors, _, _ = socket.recv_fds(connection, 4096, 1)
        told = json.loads(hello)
        return Spare(
            guardian=told["guardian"], connection=connection, errors=errors[0], folder=Path(told["folder"])
        )
    except ConnectionRefusedError:
        path.unlink(missing_ok=True)  # its guardian was killed
    except (OSError, ValueError, LookupError):
        pass  # somebody else was faster, or it ends at this moment
    for descriptor in errors:
        os.close(descriptor)
    connection.close()
    return None


def _place() -> Path | None:
    return private_folder("spare-guests")


def _kind(command: GuestCommand) -> str:
    """Return a name for everything that a guest is started with, our own packages as they are now included."""
    stamps = [
        (str(path), path.stat().st_mtime_ns)
        for package in command.packages
        for path in sorted(package_folder(package).rglob("*"))
        if path.suffix in _CODE
    ]
    started_with = [
        guardian_words(command, Path("/")), sorted(guest_environment(command, Path("/")).items()), stamps
    ]  # fmt: skip
    return hashlib.sha256(json.dumps(started_with).encode()).hexdigest()[:16]


def _alive(path: Path) -> bool:
    """Return whether the guardian of a socket runs; the socket of one that was killed is removed."""
    try:
        os.kill(int(path.name.rpartition("-")[2]), 0)
    except (ValueError, ProcessLookupError, PermissionError):  # the last: another user has the number now
        path.unlink(missing_ok=True)
        return False
    return True
