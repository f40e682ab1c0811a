"""Stands between the trusted side and a guest, and leaves nothing of the guest behind.

A script of its own (standard library only, started with `python -I -S`): it starts the guest in a session of its own,
adopts whatever the guest's children leave behind, and ends the whole tree, first politely, when the trusted side asks
(SIGTERM), when it dies (standard input ends), or when the guest itself ends. Its exit status is the guest's.

With `--spare PREFIX` the guest waits for a trusted side that is still to come: the first one that connects gets the
guest's standard error and a line that says where the guest is, and its connection takes the place of standard input; at
the end it is told the exit status. With `--shared`, too, everyone who connects has the guest, together with the others.
Where nobody is there for `--idle-seconds`, the guest is ended.

With `--gateways FOLDER` the guest's network holds nothing but the way to gateways; see closed_networks.py. With
`--gateway-port PORT` it shares this one's and can connect to that port alone; see network_locks.py.
"""

import argparse
import contextlib
import ctypes
import importlib.util
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
from types import ModuleType

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
TERM_SECONDS = 1.0
KILL_SECONDS = 5.0
NOT_STARTED = 127
"""Exit status where there is no guest: a shell's for a program that it does not find."""
NOT_LOCKED = 126
"""Exit status of a guest that could not be locked: a shell's for a program that it may not run."""


def prctl(option: int, value: int) -> None:
    """Set a process attribute where the system has them; elsewhere the process group alone must do."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def beside(name: str) -> ModuleType:
    """Return a module beside this file, which is not on the path of this program."""
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), f"{name}.py")
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def prepare_guest(memory_mb: int | None, guardian: int) -> None:
    """Run in the guest before its program: die with the guardian, and stay below the memory limit."""
    prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != guardian:
        os._exit(NOT_STARTED)  # it died before the line above, which tells of later deaths only
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    if memory_mb is not None:
        resource.setrlimit(resource.RLIMIT_DATA, (memory_mb * 2**20, memory_mb * 2**20))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def port_numbers(text: str) -> list[int]:
    """Return the ports of a command line, which separates them by commas."""
    return [int(port) for port in text.split(",")]


def lock_guest(locks: ModuleType, gateway_port: int, own_ports: list[int]) -> None:
    """Run in the guest before its program: lock it, or end it where the system does not allow that."""
    try:
        locks.lock(gateway_port, own_ports)
    except OSError as error:
        os.write(2, f"{error}\n".encode())
        os._exit(NOT_LOCKED)


def children() -> dict[int, list[int]]:
    """Return the children of every process, by the parent's process id; nothing where the system does not tell."""
    found: dict[int, list[int]] = {}
    for entry in os.listdir("/proc") if os.path.isdir("/proc/self") else []:
        if entry.isdigit():
            with contextlib.suppress(OSError), open(f"/proc/{entry}/stat", "rb") as stat:
                parent = int(stat.read().rpartition(b")")[2].split()[1])
                found.setdefault(parent, []).append(int(entry))
    return found


def descendants(process: "int | None" = None) -> list[int]:
    """Return the processes below one; of this one (None), a subreaper, also those whose parents are gone."""
    known = children()
    found: list[int] = []
    wait = [os.getpid() if process is None else process]
    while wait:
        below = known.get(wait.pop(), [])
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


def end_tree(
    guest: "subprocess.Popen[bytes]", grace_seconds: float, trusted: "StandardInput | Callers"
) -> None:
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
            trusted.pass_errors()  # who cannot write cannot end
            time.sleep(0.01)


class StandardInput:
    """The trusted side started this process, and is there as long as standard input is open."""

    guest_errors: int | None = None

    def sources(self) -> "list[int | socket.socket]":
        """Return what to wait for."""
        return [0]

    def patience(self) -> float | None:
        """Return for how many seconds to wait; None is for ever."""
        return None

    def serve(self, ready: "list[int | socket.socket]") -> bool:
        """Return whether the trusted side is gone, when there is something to read."""
        return bool(ready) and not os.read(0, 512)

    def retire(self) -> None:
        """Do nothing: nobody else can come."""

    def pass_errors(self) -> None:
        """Do nothing: the guest has this process's standard error."""

    def end(self, status: int) -> None:
        """Tell the exit status: this process's own is enough."""


class Callers:
    """The trusted side is whoever connects to a socket: the first one alone, or everyone who comes.

    A caller may say `retire`, so that nobody else comes, or `end`, so that the guest ends although others use it.

    Attributes:
        guest_errors: Descriptor that the guest writes its standard error to; None once the guest has it.
    """

    def __init__(self, prefix: str, idle_seconds: float, folder: str, *, shared: bool) -> None:
        """Begin to listen on a socket that is named by this process, so that everyone can tell whether it is alive."""
        self._path, self._folder, self._shared = f"{prefix}-{os.getpid()}", folder, shared
        self._listener: socket.socket | None = socket.socket(socket.AF_UNIX)
        new = os.path.join(os.path.dirname(prefix), f".new-{os.getpid()}")
        self._listener.bind(new)
        self._listener.listen()
        os.rename(
            new, self._path
        )  # whoever finds the name can connect: one that refuses is taken for a dead one
        self._callers: dict[socket.socket, int] = {}
        self._errors, errors = os.pipe()
        self.guest_errors: int | None = errors
        os.set_blocking(self._errors, False)
        self._reads_errors = True
        self._idle_seconds = idle_seconds
        self._idle_until = time.monotonic() + idle_seconds

    def sources(self) -> "list[int | socket.socket]":
        """Return what to wait for."""
        listener = [] if self._listener is None else [self._listener]
        return [*listener, *self._callers, *([self._errors] if self._reads_errors else [])]

    def patience(self) -> float | None:
        """Return for how many seconds to wait; None is for ever."""
        return None if self._callers else max(0.0, self._idle_until - time.monotonic())

    def serve(self, ready: "list[int | socket.socket]") -> bool:
        """Let callers in and out and pass the guest's words on; return whether the guest is to end."""
        asked = False
        for source in ready:
            if source is self._listener:
                self._let_in()
            elif isinstance(source, socket.socket):
                asked = self._hear(source) or asked
            else:
                self.pass_errors()
        idle = not self._callers and time.monotonic() >= self._idle_until
        return asked or idle or (self._listener is None and not self._callers)

    def _let_in(self) -> None:
        assert self._listener is not None
        caller = self._listener.accept()[0]
        if not self._shared:
            self.retire()
        reads, writes = os.pipe()
        os.set_blocking(writes, False)
        hello = json.dumps({"guardian": os.getpid(), "folder": self._folder}).encode() + b"\n"
        try:
            socket.send_fds(caller, [hello], [reads])
            self._callers[caller] = writes
        except OSError:
            caller.close()
            os.close(writes)
        finally:
            os.close(reads)

    def _hear(self, caller: socket.socket) -> bool:
        try:
            said = caller.recv(512)
        except ConnectionError:
            said = b""
        if b"retire" in said:
            self.retire()
        if not said:
            os.close(self._callers.pop(caller))
            caller.close()
            self._idle_until = time.monotonic() + self._idle_seconds
        return b"end" in said

    def retire(self) -> None:
        """Let nobody else come."""
        if self._listener is not None:
            os.unlink(self._path)
            self._listener.close()
            self._listener = None

    def pass_errors(self) -> None:
        """Pass on what the guest wrote to its standard error."""
        if not self._reads_errors:
            return
        try:
            words = os.read(self._errors, 65_536)
        except BlockingIOError:
            return
        self._reads_errors = bool(words)
        for writes in self._callers.values():
            with contextlib.suppress(BlockingIOError, BrokenPipeError):  # who does not read them lacks some
                os.write(writes, words)

    def end(self, status: int) -> None:
        """Tell the callers the guest's last words and its exit status, and let nobody else come."""
        self.retire()
        self.pass_errors()
        for caller, writes in self._callers.items():
            os.close(writes)
            with contextlib.suppress(OSError):
                caller.sendall(json.dumps({"status": status}).encode() + b"\n")
            caller.close()


def main() -> int:
    """Run the command line and return the guest's exit status, 128 plus the number of a signal that ended it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--grace", type=float, required=True, help="seconds between SIGINT and SIGTERM")
    parser.add_argument("--memory-mb", type=int, help="data segment limit of the guest")
    parser.add_argument("--spare", metavar="PREFIX", help="wait at PREFIX-PID for the trusted side")
    parser.add_argument("--shared", action="store_true", help="for everyone who comes there")
    parser.add_argument(
        "--idle-seconds", type=float, default=0.0, help="how long the guest waits for somebody"
    )
    parser.add_argument("--folder", default="", help="the guest's folder, removed at the end")
    parser.add_argument("--gateways", metavar="FOLDER", help="of sockets: all that the guest can reach")
    parser.add_argument("--gateway-port", type=int, help="all that the guest can connect to by TCP")
    parser.add_argument(
        "--own-ports", type=port_numbers, default=[], help="that it may listen on, too, as 1,2,3"
    )
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
    networks = beside("closed_networks") if options.gateways else None
    door = networks.Door(options.gateways) if networks else None
    locks = beside("network_locks") if options.gateway_port is not None else None

    def prepare() -> None:
        if networks and door:
            networks.close_in(door.guest_end)
        prepare_guest(options.memory_mb, own)  # after it: a new user namespace forgets whose death matters
        if locks:
            lock_guest(locks, options.gateway_port, options.own_ports)

    trusted: StandardInput | Callers = StandardInput()
    if options.spare:
        trusted = Callers(options.spare, options.idle_seconds, options.folder, shared=options.shared)
    try:
        guest = subprocess.Popen(
            options.command,
            stdin=subprocess.DEVNULL,
            stderr=trusted.guest_errors,
            start_new_session=True,
            preexec_fn=prepare,  # noqa: PLW1509 - no thread runs here
        )
    except OSError as error:
        print(error, file=sys.stderr)
        trusted.end(NOT_STARTED)
        return NOT_STARTED
    if trusted.guest_errors is not None:
        os.close(trusted.guest_errors)
        trusted.guest_errors = None
    if door:
        door.receive()
    doors = [door.listener] if door and door.listener else []
    while guest.poll() is None and not asked:
        ready, _, _ = select.select([*trusted.sources(), *doors, wake_read], [], [], trusted.patience())
        if door and door.listener in ready:
            door.let_through()
            ready.remove(door.listener)
        if wake_read in ready:
            os.read(wake_read, 512)
            ready.remove(wake_read)
        if trusted.serve(ready):
            asked = True
    trusted.retire()  # at once: whoever came while the tree ends would get a guest that is gone
    end_tree(guest, options.grace, trusted)
    status = guest.wait()
    status = status if status >= 0 else 128 - status
    if options.folder:
        shutil.rmtree(options.folder, ignore_errors=True)
    trusted.end(status)
    return status


if __name__ == "__main__":
    sys.exit(main())
