"""Environments of frameworks: made from a hashed lock, named by the lock's digest, whole or not there at all.

An environment is used only when its marker, which is written last, names its lock. Everything else below its name is
the remains of an install that was cut off, and is made again.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Generator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from uv import find_uv_bin

from orchestrator_resources.installers import refused, run_installer
from orchestrator_resources.node_packages import install_node_packages
from orchestrator_runtimes.errors import AgentError
from orchestrator_runtimes.locks import Lock

MARKER: Final = "orchestrator.json"
SPARE_BYTES: Final = 200 * 2**20
"""Free disk below which an install is not begun: it would only end half-done."""


@dataclass(frozen=True, kw_only=True)
class Environment:
    """A whole environment.

    Attributes:
        digest: Of its lock.
        path: Its folder.
        python: Its interpreter.
        name: What it was first installed for.
        size: Bytes on disk.
        seconds: How long its installation took.
    """

    digest: str
    path: Path
    python: Path
    name: str
    size: int
    seconds: float


def lock_digest(lock: Lock) -> str:
    """Return the digest of a lock: comments, blank lines, order and line breaks of its requirements do not count."""
    joined = lock.python.replace("\\\n", " ")
    lines = (line.partition(" #")[0].strip() for line in joined.splitlines())
    entries = sorted(" ".join(sorted(line.split())) for line in lines if line and not line.startswith("#"))
    if lock.node is not None:
        entries += [lock.node.package, lock.node.lock]
    return hashlib.sha256("\n".join(entries).encode()).hexdigest()


class EnvironmentStore:
    """The environments of one home folder; any number of processes and projects may share it.

    Args:
        home: The folder; environments are below `environments/`, by interpreter and digest.
    """

    def __init__(self, home: Path) -> None:
        """Name the place; nothing is made yet."""
        self._folder = (
            home
            / "environments"
            / f"{sys.implementation.name}-{sys.version_info.major}.{sys.version_info.minor}"
        )

    def digest(self, lock: Lock) -> str:
        """Return the name of the environment that a lock makes."""
        return lock_digest(lock)

    def find(self, lock: Lock) -> Environment | None:
        """Return the environment of a lock; None when it is not installed whole."""
        return self._read(self._folder / lock_digest(lock))

    def installed(self) -> list[Environment]:
        """Return every whole environment, by name and digest."""
        found = [environment for folder in self._folders() if (environment := self._read(folder)) is not None]
        return sorted(found, key=lambda environment: (environment.name, environment.digest))

    def remains(self) -> list[Path]:
        """Return the folders that an install or a removal left behind half-done, and nobody is working on now."""
        return [folder for folder in self._folders() if self._read(folder) is None and not self._busy(folder)]

    def _folders(self) -> list[Path]:
        return sorted(path for path in self._folder.glob("*") if path.is_dir())

    def _busy(self, folder: Path) -> bool:
        with contextlib.suppress(OSError), (self._folder / f".{folder.name}.lock").open("r") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
        return False

    def install(self, lock: Lock, *, name: str, progress: Callable[[str], None]) -> Environment:
        """Return the environment of a lock, made first when it is missing.

        Args:
            lock: Exactly what it names is installed.
            name: What it is for, such as a framework; for people.
            progress: Takes one line at a time.

        Raises:
            AgentError: `agent_load_failed` when the installer refuses or the disk is full; nothing is left in use.
        """
        digest = lock_digest(lock)
        target = self._folder / digest
        if (found := self._read(target)) is not None:
            return found
        with self._exclusive(digest, name, progress) as held:
            if (found := self._read(target)) is not None:
                return found  # another process was first
            try:
                self._make(lock, target, name, progress, held)
            except (AgentError, OSError) as error:
                shutil.rmtree(target, ignore_errors=True)
                if isinstance(error, AgentError):
                    raise
                raise refused(name, "the disk did not take it", str(error)) from error
        made = self._read(target)
        assert made is not None  # the marker was just written
        progress(f"{name}: installed, {made.size / 2**20:.0f} MB in {made.seconds:.0f} s")
        return made

    def remove(self, digest: str) -> bool:
        """Delete an environment; False when there is none of that name."""
        target = self._folder / digest
        if not target.is_dir():
            return False
        with self._exclusive(digest, digest[:12], lambda _line: None):
            (target / MARKER).unlink(missing_ok=True)  # first, so that nobody uses what is being deleted
            shutil.rmtree(target)
        return True

    def _read(self, folder: Path) -> Environment | None:
        try:
            marker = json.loads((folder / MARKER).read_text())
            if marker["lock"] != folder.name:
                return None
            return Environment(
                digest=folder.name,
                path=folder,
                python=folder / "bin" / "python",
                name=str(marker["name"]),
                size=int(marker["size"]),
                seconds=float(marker["seconds"]),
            )
        except (OSError, ValueError, KeyError, TypeError):
            return None

    @contextlib.contextmanager
    def _exclusive(self, digest: str, name: str, progress: Callable[[str], None]) -> Generator[int]:
        """Hold the lock of one environment and yield its descriptor.

        The system lets go of it when its holder dies, and the installer that the holder started and passed it to.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        with (self._folder / f".{digest}.lock").open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                progress(f"{name}: another process is installing it; waiting")
                fcntl.flock(file, fcntl.LOCK_EX)
            yield file.fileno()

    def _make(self, lock: Lock, target: Path, name: str, progress: Callable[[str], None], held: int) -> None:
        began = time.monotonic()
        if target.exists():
            progress(f"{name}: an earlier install was cut off; making it again")
            shutil.rmtree(target)
        free = shutil.disk_usage(self._folder).free
        if free < SPARE_BYTES:
            raise refused(name, f"only {free / 2**20:.0f} MB are free on the disk of {self._folder}", None)
        count = sum(1 for line in lock.python.splitlines() if line and not line.startswith((" ", "#", "\t")))
        progress(f"{name}: installing {count} distributions into {target}")
        uv("venv", "--python", sys.executable, "--no-project", str(target), name=name, held=held)
        requirements = target / "requirements.txt"
        requirements.write_text(lock.python)
        # byte code is made by the new interpreter, which runs what the packages put into its start
        how = ["--no-build"] if lock.wheels_only else ["--compile-bytecode"]
        uv(
            "pip", "sync", "--allow-empty-requirements", "--python", str(target / "bin" / "python"),
            "--require-hashes", *how, str(requirements), name=name, progress=progress, held=held,
        )  # fmt: skip
        if lock.node is not None:
            install_node_packages(lock.node, target, name=name, progress=progress, held=held)
        marker = {
            "lock": target.name,
            "name": name,
            "size": _size(target),
            "seconds": round(time.monotonic() - began, 1),
        }
        _write_durably(target / MARKER, json.dumps(marker))


def uv(
    *words: str,
    name: str,
    progress: Callable[[str], None] | None = None,
    text: str | None = None,
    held: int | None = None,
) -> str:
    """Run uv and return what it printed on standard output.

    Args:
        words: Its arguments.
        name: What it works for, in errors.
        progress: Takes the lines of its standard error as they come; None keeps them for an error only.
        text: Its standard input; None gives none.
        held: Descriptor of a lock that it holds too, so that it is not let go while an orphaned uv still works.

    Raises:
        AgentError: `agent_load_failed` with the last lines it said.
    """
    return run_installer(
        [find_uv_bin(), "--no-progress", *words], name=name, progress=progress, text=text, held=held
    )


def _size(folder: Path) -> int:
    return sum(
        entry.stat(follow_symlinks=False).st_size
        for parent, _, files in os.walk(folder)
        for entry in map(Path(parent).joinpath, files)
    )


def _write_durably(file: Path, text: str) -> None:
    with file.open("w") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())


def describe(environment: Environment) -> dict[str, object]:
    """Return an environment as plain values, for `--json`."""
    return {
        key: str(value) if isinstance(value, Path) else value for key, value in asdict(environment).items()
    }
