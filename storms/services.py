"""Processes of a platform, each at its own address: killed, ended in order, and started again where they were."""

import contextlib
import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

_SERVES_SECONDS: Final = 120.0
_END_SECONDS: Final = 20.0
_PAUSE_SECONDS: Final = 0.1


def free_port() -> int:
    """Return a port that nobody has now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def answers(url: str) -> bool:
    """Tell whether somebody speaks HTTP at an address."""
    try:
        urllib.request.urlopen(url, timeout=5).close()
    except urllib.error.HTTPError as error:
        error.close()
    except OSError:
        return False
    return True


def listens(port: int) -> bool:
    """Tell whether somebody takes connections at a port of this machine."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=5):
        return True
    return False


class Service:
    """One process.

    Args:
        name: For people, and of its log.
        folder: Where it works, and its log is.
        command: Words of it.
        environment: All of its variables.
        serves: Tells whether it does; None where nobody can see that.
    """

    def __init__(
        self,
        name: str,
        folder: Path,
        command: Sequence[str],
        environment: Mapping[str, str],
        serves: Callable[[], bool] | None = None,
    ) -> None:
        """Start nothing yet."""
        self.name = name
        self._folder, self._command, self._environment = folder, command, environment
        self._serves = serves
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def runs(self) -> bool:
        """Whether its process is there."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start it; return at once."""
        assert not self.runs, f"{self.name} runs"
        with (self._folder / f"{self.name}.log").open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                cwd=self._folder,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                # of its own, so that what it started ends with it
                start_new_session=True,
            )

    def wait(self) -> None:
        """Return when it serves.

        Raises:
            RuntimeError: It does not.
        """
        until = time.monotonic() + _SERVES_SECONDS
        while self._serves is not None and not self._serves():
            if not self.runs or time.monotonic() > until:
                raise RuntimeError(f"{self.name} does not serve: {self.log()[-2_000:]}")
            time.sleep(_PAUSE_SECONDS)

    def finished(self) -> None:
        """Return when it has ended by itself, well.

        Raises:
            RuntimeError: It did not.
        """
        assert self._process is not None
        if self._process.wait(_SERVES_SECONDS) != 0:
            raise RuntimeError(f"{self.name} failed: {self.log()[-2_000:]}")

    def kill(self) -> None:
        """End it, and all that it started, without a word."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """Let it end in order; what does not is killed."""
        self._end(signal.SIGTERM)

    def _end(self, how: signal.Signals) -> None:
        process = self._process
        if process is None:
            return
        if how is signal.SIGTERM and process.poll() is None:
            process.send_signal(how)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_END_SECONDS)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def log(self) -> str:
        """Return what it said."""
        return (self._folder / f"{self.name}.log").read_text(errors="replace")
