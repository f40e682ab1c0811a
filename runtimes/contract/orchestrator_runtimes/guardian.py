"""Stands between the trusted side and a guest, and leaves nothing of the guest behind.

A script of its own (standard library only, started with `python -I -S`): it starts the guest in a session of its own,
adopts whatever the guest's children leave behind, and ends the whole tree, first politely, when the trusted side asks
(SIGTERM), when it dies (standard input ends), or when the guest itself ends. Its exit status is the guest's.

With `--spare PREFIX` the guest waits for a trusted side that is still to come: the first one that connects gets the
guest's standard error and a line that says where the guest is, and its connection takes the place of standard input; at
the end it is told the exit status. Where nobody comes for `--idle-seconds`, the guest is ended.
"""

import argparse
import contextlib
import ctypes
import json
import os
import resource
import select
import shutil
import signal
import socket
import subprocess
import sys
import time

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
TERM_SECONDS = 1.0
KILL_SECONDS = 5.0
NOT_STARTED = 127
"""Exit status where there is no guest: a shell's for a program that it does not find."""


def prctl(option: int, value: int) -> None:
    """Set a process attribute where the system has them; elsewhere the process group alone must do."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def prepare_guest(memory_mb: int | None, guardian: int) -> None:
    """Run in the guest before its program: die with the guardian, and stay below the memory limit."""
    prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != guardian:
        os._exit(NOT_STARTED)  # it died before the line above, which tells of later deaths only
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    if memory_mb is not None:
        resource.setrlimit(resource.RLIMIT_DATA, (memory_mb * 2**20, memory_mb * 2**20))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def descendants() -> list[int]:
    """Return the processes below this one; as a subreaper it also finds those whose parents are gone."""
    children: dict[int, list[int]] = {}
    for entry in os.listdir("/proc") if os.path.isdir("/proc/self") else []:
        if entry.isdigit():
            with contextlib.suppress(OSError), open(f"/proc/{entry}/stat", "rb") as stat:
                parent = int(stat.read().rpartition(b")")[2].split()[1])
                children.setdefault(parent, []).append(int(entry))
    found: list[int] = []
    wait = [os.getpid()]
    while wait:
        below = children.get(wait.pop(), [])
        found += below
        wait += below
    return found


def signal_tree(guest: int, number: int) -> None:
    """Send a signal to the guest's process group and to every other descendant."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(guest, number)
    for process in descendants():
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if os.getpgid(process) != guest:
                os.kill(process, number)


def reap() -> None:
    """Collect every child that has ended."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def end_tree(guest: "subprocess.Popen[bytes]", grace_seconds: float) -> None:
    """End the guest and all below it: SIGINT, after the grace period SIGTERM, then SIGKILL until nothing is left."""
    for number, seconds in (
        (signal.SIGINT, grace_seconds),
        (signal.SIGTERM, TERM_SECONDS),
        (signal.SIGKILL, KILL_SECONDS),
    ):
        if guest.poll() is not None and not descendants():
            return
        if number != signal.SIGINT or guest.poll() is None:
            signal_tree(guest.pid, number)
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if guest.poll() is not None:
                if number == signal.SIGINT:
                    break  # the guest obeyed; what it left behind has no claim to the grace period
                reap()
                if not descendants():
                    return
                if number == signal.SIGKILL:
                    signal_tree(guest.pid, number)
            time.sleep(0.01)


class StandardInput:
    """The trusted side started this process, and is there as long as standard input is open."""

    idle_seconds = None
    guest_errors = None

    def fileno(self) -> int:
        """Return what to wait for."""
        return 0

    def gone(self) -> bool:
        """Return whether the trusted side is gone, when there is something to read."""
        return not os.read(0, 512)

    def end(self, status: int) -> None:
        """Tell the exit status: this process's own is enough."""


class FirstCaller:
    """The trusted side is whoever connects first to a socket; nobody after it is let in.

    Attributes:
        idle_seconds: How long it may take to come; None once it is there.
        guest_errors: Descriptor that the guest writes its standard error to; None once the guest has it.
    """

    def __init__(self, prefix: str, idle_seconds: float, folder: str) -> None:
        """Begin to listen on a socket that is named by this process, so that everyone can tell whether it is alive."""
        self._path, self._folder = f"{prefix}-{os.getpid()}", folder
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.bind(self._path)
        self._socket.listen()
        self._came = False
        self._errors, self.guest_errors = os.pipe()
        self.idle_seconds: float | None = idle_seconds

    def fileno(self) -> int:
        """Return what to wait for."""
        return self._socket.fileno()

    def gone(self) -> bool:
        """Let the first caller in, or return whether it is gone, when there is something to read."""
        if self._came:
            try:
                return not self._socket.recv(512)
            except ConnectionError:
                return True
        listener, self._socket = self._socket, self._socket.accept()[0]
        self._came, self.idle_seconds = True, None
        os.unlink(self._path)
        listener.close()
        hello = json.dumps({"guardian": os.getpid(), "folder": self._folder}).encode() + b"\n"
        try:
            socket.send_fds(self._socket, [hello], [self._errors])
        except OSError:
            return True
        finally:
            os.close(self._errors)
        return False

    def end(self, status: int) -> None:
        """Tell the trusted side the guest's exit status, if it ever came."""
        if self._came:
            with contextlib.suppress(OSError):
                self._socket.sendall(json.dumps({"status": status}).encode() + b"\n")
        else:
            os.unlink(self._path)
        self._socket.close()


def main() -> int:
    """Run the command line and return the guest's exit status, 128 plus the number of a signal that ended it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--grace", type=float, required=True, help="seconds between SIGINT and SIGTERM")
    parser.add_argument("--memory-mb", type=int, help="data segment limit of the guest")
    parser.add_argument("--spare", metavar="PREFIX", help="wait at PREFIX-PID for the trusted side")
    parser.add_argument("--idle-seconds", type=float, default=0.0, help="how long a spare waits")
    parser.add_argument("--folder", default="", help="the guest's folder, removed at the end")
    parser.add_argument("command", nargs="+")
    options = parser.parse_args()
    prctl(PR_SET_CHILD_SUBREAPER, 1)
    own = os.getpid()
    wake_read, wake_write = os.pipe()
    os.set_blocking(wake_write, False)
    signal.set_wakeup_fd(wake_write)
    asked = False

    def ask(_number: int, _frame: object) -> None:
        nonlocal asked
        asked = True

    signal.signal(signal.SIGTERM, ask)
    signal.signal(signal.SIGINT, ask)
    signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
    trusted = (
        FirstCaller(options.spare, options.idle_seconds, options.folder) if options.spare else StandardInput()
    )
    try:
        guest = subprocess.Popen(
            options.command,
            stdin=subprocess.DEVNULL,
            stderr=trusted.guest_errors,
            start_new_session=True,
            preexec_fn=lambda: prepare_guest(options.memory_mb, own),  # noqa: PLW1509 - no thread runs here
        )
    except OSError as error:
        print(error, file=sys.stderr)
        trusted.end(NOT_STARTED)
        return NOT_STARTED
    if trusted.guest_errors is not None:
        os.close(trusted.guest_errors)
    while guest.poll() is None and not asked:
        ready, _, _ = select.select([trusted, wake_read], [], [], trusted.idle_seconds)
        if wake_read in ready:
            os.read(wake_read, 512)
        if not ready or (trusted in ready and trusted.gone()):
            asked = True
    end_tree(guest, options.grace)
    status = guest.wait()
    status = status if status >= 0 else 128 - status
    if options.folder:
        shutil.rmtree(options.folder, ignore_errors=True)
    trusted.end(status)
    return status


if __name__ == "__main__":
    sys.exit(main())
