"""Starting a guest process: scrubbed environment, its own folder and process group, under a guardian."""

import asyncio
import os
import shutil
import signal
import sys
import tempfile
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from orchestrator_runtimes import guardian
from orchestrator_runtimes.client import CONNECT_SECONDS, RuntimeClient, SessionStore, StepJournal
from orchestrator_runtimes.errors import AgentError, ErrorCode
from orchestrator_runtimes.model_calls import MODEL_ENVIRONMENT

PASSED_ENVIRONMENT: Final = ("PATH", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "SSL_CERT_FILE", "SSL_CERT_DIR")
"""All that a guest inherits from the environment of the trusted side: no secrets, no proxies, no Python settings."""

GRACE_SECONDS: Final = 5.0
_TAIL_LINES: Final = 20
_LINE_BYTES: Final = 2**16


@dataclass(frozen=True, kw_only=True)
class GuestCommand:
    """How a guest is started.

    Attributes:
        framework: Name of the framework's profile, for errors.
        python: Interpreter of the framework's environment.
        adapter: `module:Class`.
        packages: Import names of the packages of ours that the guest sees: the contract and the adapter's.
        environment: Variables set beside those that pass.
        max_executions: How many executions it runs at once.
        memory_mb: Limit of its data in MiB; None sets none.
        grace_seconds: How long it may take to stop before it is killed.
    """

    framework: str
    python: Path
    adapter: str
    packages: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict[str, str])
    max_executions: int = 200
    memory_mb: int | None = None
    grace_seconds: float = GRACE_SECONDS


def guest_environment(command: GuestCommand, folder: Path) -> dict[str, str]:
    """Return the whole environment of a guest whose folder is `folder`."""
    passed = {name: os.environ[name] for name in PASSED_ENVIRONMENT if name in os.environ}
    own = {
        "HOME": str(folder / "home"),
        "TMPDIR": str(folder / "tmp"),
        "PYTHONPATH": str(folder / "packages"),
    }
    return {**passed, **own, "PYTHONUNBUFFERED": "1", **MODEL_ENVIRONMENT, **command.environment}


class GuestProcess:
    """A running guest and the connection to it. Make it with `start`, end it with `stop`.

    Attributes:
        client: The connection.
        folder: The only folder the guest writes to; removed by `stop`.
    """

    def __init__(self, command: GuestCommand, folder: Path, process: asyncio.subprocess.Process) -> None:
        """See `start`."""
        self.folder = folder
        self.client: RuntimeClient
        self._command = command
        self._process = process
        self._tail: deque[str] = deque(maxlen=_TAIL_LINES)
        self._reading = asyncio.create_task(self._read_errors())

    @classmethod
    async def start(
        cls,
        command: GuestCommand,
        *,
        sessions: SessionStore | None = None,
        journal: StepJournal | None = None,
        timeout: float = CONNECT_SECONDS,
    ) -> "GuestProcess":
        """Start a guest and connect to it.

        Raises:
            AgentError: `runtime_crashed` when it ends or does not answer in time; the message holds its last words.
        """
        folder = Path(tempfile.mkdtemp(prefix=f"guest-{command.framework[:20]}-"))
        try:
            _furnish(folder, command.packages)
        except AgentError:
            shutil.rmtree(folder)
            raise
        address = f"unix:{folder / 'socket'}"
        words = [str(command.python), "-P", "-m", "orchestrator_runtimes", "--adapter", command.adapter]
        words += [
            "--listen",
            address,
            "--folder",
            str(folder),
            "--max-executions",
            str(command.max_executions),
        ]
        limit = ["--memory-mb", str(command.memory_mb)] if command.memory_mb is not None else []
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-I", "-S", guardian.__file__, "--grace", str(command.grace_seconds), *limit, "--", *words,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            limit=_LINE_BYTES,
            cwd=folder,
            env=guest_environment(command, folder),
            start_new_session=True,
        )  # fmt: skip
        guest = cls(command, folder, process)
        connecting = asyncio.create_task(
            RuntimeClient.connect(address, sessions=sessions, journal=journal, timeout=timeout)
        )
        try:
            ended = asyncio.create_task(process.wait())
            await asyncio.wait({connecting, ended}, return_when=asyncio.FIRST_COMPLETED)
            ended.cancel()
            if not connecting.done() or connecting.exception() is not None:
                raise await guest.crash("did not start")
            guest.client = connecting.result()
        except BaseException:
            connecting.cancel()
            await guest.stop()
            raise
        return guest

    @property
    def running(self) -> bool:
        """True while the process lives and can be reached."""
        return self._process.returncode is None and not self.client.closed

    @property
    def pid(self) -> int:
        """Process id of the guest itself, which its guardian started; on Linux only.

        Raises:
            OSError: It has ended.
        """
        guardian_pid = self._process.pid
        children = Path(f"/proc/{guardian_pid}/task/{guardian_pid}/children").read_text().split()
        if not children:
            raise ProcessLookupError(f"the guest below process {guardian_pid} has ended")
        return int(children[0])

    async def crash(self, what: str) -> AgentError:
        """Return the error that tells how the guest ended; waits a moment for its last words."""
        with suppress(TimeoutError):
            await asyncio.wait_for(asyncio.shield(self._process.wait()), timeout=1.0)
        status = self._process.returncode
        how = "it still runs" if status is None else _status(status)
        last = next((line for line in reversed(self._tail) if line.strip()), None)
        return AgentError(
            ErrorCode.RUNTIME_CRASHED,
            f"the runtime {self._command.framework!r} {what}: {how}",
            cause="\n".join(self._tail) if last else None,
        )

    async def stop(self) -> None:
        """End the guest and everything below it, and remove its folder; idempotent.

        The guest gets its grace period first; executions that do not end in it are handed back as retryable.
        """
        if self._process.stdin is not None:
            self._process.stdin.close()  # the guardian's sign to end the tree
        try:
            await asyncio.wait_for(
                self._process.wait(), self._command.grace_seconds + guardian.KILL_SECONDS + 3
            )
        except TimeoutError:
            self._kill()
            await self._process.wait()
        finally:
            if hasattr(self, "client"):
                await self.client.close()
            self._reading.cancel()
            shutil.rmtree(self.folder, ignore_errors=True)

    def _kill(self) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)

    async def _read_errors(self) -> None:
        """Keep the guest's last words, and pass its standard error on to ours."""
        stream = self._process.stderr
        assert stream is not None  # it is a pipe
        while True:
            try:
                line = await stream.readline()
            except ValueError:
                continue  # a line longer than the limit was dropped
            if not line:
                return
            text = line.decode(errors="replace")
            self._tail.append(text.rstrip("\n")[:1_000])
            sys.stderr.write(text)


def _status(status: int) -> str:
    if status <= 128:
        return f"it ended with status {status}"
    try:
        return f"it was ended by {signal.Signals(status - 128).name}"
    except ValueError:
        return f"it ended with status {status}"


def _furnish(folder: Path, packages: tuple[str, ...]) -> None:
    """Make the guest's folders, with links to the few packages of ours that it may import."""
    for name in ("home", "tmp", "packages"):
        (folder / name).mkdir()
    for package in packages:
        spec = find_spec(package)
        if spec is None or spec.origin is None:
            raise AgentError(
                ErrorCode.AGENT_LOAD_FAILED, f"the package {package!r} of the runtime is not installed here"
            )
        (folder / "packages" / package).symlink_to(Path(spec.origin).parent)
