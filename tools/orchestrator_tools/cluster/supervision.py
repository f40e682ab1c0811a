"""Starts the cluster's processes in order, waits until each is ready, and says which one died and why.

Runs as the first process of a PID namespace: it collects every process whose parent has ended, and when it ends
itself, the kernel ends all others.
"""

import contextlib
import functools
import http.client
import os
import shutil
import signal
import socket
import ssl
import time
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final, NoReturn

from orchestrator_tools.cluster.commands import ClusterError, tail
from orchestrator_tools.cluster.components import Component

READY_SECONDS: Final = 120.0
"""For each component; a few seconds are usual, a busy machine takes many times that."""
PROBE_SECONDS: Final = 2.0
BETWEEN_PROBES: Final = 0.05

_EXPECTED: Final = frozenset({signal.SIGCHLD, signal.SIGTERM})


class StopRequested(BaseException):
    """SIGTERM came; not an error."""


def is_ready(address: str) -> bool:
    """Return whether a component answers; see `Component.ready`."""
    if address.startswith("/"):
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(PROBE_SECONDS)
            connection.connect(address)
            return True
        return False
    # a loopback address of the cluster's own network, and some of the certificates are self-signed
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    opener = urllib.request.build_opener(
        urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)
    )
    try:
        with opener.open(address, timeout=PROBE_SECONDS) as answer:
            return bool(answer.status == 200)
    except (OSError, http.client.HTTPException):
        return False


class Supervisor:
    """The processes, by name."""

    def __init__(self, logs: Path, environment: Mapping[str, str]) -> None:
        """Begin with no process.

        Args:
            logs: Folder of one log for each process.
            environment: All variables of the processes.
        """
        self._logs = logs
        self._environment = dict(environment)
        self._names: dict[int, str] = {}
        self._ended: dict[str, int] = {}
        signal.pthread_sigmask(signal.SIG_BLOCK, _EXPECTED)

    def start(self, *components: Component) -> None:
        """Start components at once and wait until all are ready.

        Raises:
            ClusterError: One died, or is not ready in time; with the end of its log.
        """
        for component in components:
            self._spawn(component.name, component.command)
        for component in components:
            self._wait_until(functools.partial(is_ready, component.ready), component.name, READY_SECONDS)

    def run(self, name: str, command: Sequence[str], seconds: float) -> None:
        """Run a command to its end while the components go on.

        Raises:
            ClusterError: It failed or took too long, or a component died.
        """
        self._spawn(name, command)
        self._wait_until(lambda: name in self._ended, name, seconds, passing=name)
        if status := self._ended.pop(name):
            raise ClusterError(self._death(name, status))

    def watch(self) -> NoReturn:
        """Wait until a component dies.

        Raises:
            ClusterError: One did.
            StopRequested: Somebody asked to stop.
        """
        while True:
            self._wait(None)

    def _spawn(self, name: str, command: Sequence[str]) -> None:
        program = shutil.which(command[0], path=self._environment["PATH"])
        if program is None:
            raise ClusterError(f"{name} cannot be started: there is no program {command[0]!r}")
        log = str(self._logs / f"{name}.log")
        actions = [
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ]
        pid = os.posix_spawn(program, list(command), self._environment, file_actions=actions, setsigmask=[])
        self._names[pid] = name

    def _wait_until(
        self, condition: Callable[[], bool], name: str, seconds: float, passing: str | None = None
    ) -> None:
        until = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > until:
                raise ClusterError(
                    f"{name} is not ready after {seconds:.0f} s; its log ends with\n{self._log(name)}"
                )
            self._wait(BETWEEN_PROBES, passing)

    def _wait(self, seconds: float | None, passing: str | None = None) -> None:
        """Wait for a signal; a component that died is an error, but not `passing`, which is meant to end."""
        signals = signal.sigwait(_EXPECTED) if seconds is None else _signal_within(seconds)
        if signals == signal.SIGTERM:
            raise StopRequested
        self._collect()
        for name, status in self._ended.items():
            if name != passing:
                raise ClusterError(self._death(name, status))

    def _collect(self) -> None:
        with contextlib.suppress(ChildProcessError):
            while (ended := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG)) is not None:
                if (name := self._names.pop(ended.si_pid, None)) is not None:
                    killed = ended.si_code != os.CLD_EXITED
                    self._ended[name] = -ended.si_status if killed else ended.si_status

    def _death(self, name: str, status: int) -> str:
        how = f"was killed by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"
        return f"{name} {how}; its log ends with\n{self._log(name)}"

    def _log(self, name: str) -> str:
        try:
            return tail((self._logs / f"{name}.log").read_text(errors="replace"))
        except OSError as error:
            return f"    (no log: {error})\n"


def _signal_within(seconds: float) -> int | None:
    found = signal.sigtimedwait(_EXPECTED, seconds)
    return None if found is None else found.si_signo
