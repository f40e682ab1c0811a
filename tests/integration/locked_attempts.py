"""What a guest tries: run inside of one, it prints how each attempt ended, as JSON.

Arguments: JSON of the ports, names and process ids that it is to try.
"""

import ctypes
import errno
import json
import os
import platform
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any

LIBC = ctypes.CDLL(None, use_errno=True)
X86 = platform.machine() == "x86_64"
CLONE_NEWUSER = 0x10000000
UPPER_LAYER = 31


def told(attempt: Callable[[], Any]) -> str:
    """Return `done`, or the name of the error."""
    try:
        attempt()
    except socket.gaierror:
        return "no name"
    except OSError as error:
        return errno.errorcode.get(error.errno or 0, str(error))
    return "done"


def system_call(number: int, *arguments: Any) -> Callable[[], None]:
    """Return an attempt of a system call."""

    def attempt() -> None:
        if LIBC.syscall(ctypes.c_long(number), *arguments) == -1:
            raise OSError(ctypes.get_errno(), "")

    return attempt


def connects(address: tuple[str, int], family: int = socket.AF_INET, protocol: int = 0) -> Callable[[], None]:
    """Return an attempt to connect by TCP."""

    def attempt() -> None:
        with socket.socket(family, socket.SOCK_STREAM, protocol) as tried:
            tried.settimeout(5)
            tried.connect(address)

    return attempt


def made(family: int, kind: int, protocol: int = 0) -> Callable[[], None]:
    """Return an attempt to make a socket."""
    return lambda: socket.socket(family, kind, protocol).close()


def fast_open(address: tuple[str, int], *, message: bool) -> Callable[[], None]:
    """Return an attempt to connect by sending."""

    def attempt() -> None:
        with socket.socket() as tried:
            tried.settimeout(5)
            if message:
                tried.sendmsg([b"x"], [], socket.MSG_FASTOPEN, address)
            else:
                tried.sendto(b"x", socket.MSG_FASTOPEN, address)

    return attempt


def listens(port: int) -> Callable[[], None]:
    """Return an attempt to serve on a port, and to be served there."""

    def attempt() -> None:
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", port))
            listener.listen()
            connects(listener.getsockname())()

    return attempt


def unix(name: str) -> Callable[[], None]:
    """Return an attempt to connect to a unix socket."""

    def attempt() -> None:
        with socket.socket(socket.AF_UNIX) as tried:
            tried.connect(name)

    return attempt


def inside() -> None:
    """Use an abstract socket and signals among processes of its own."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("\0inside-" + str(os.getpid()))
        listener.listen()
        unix("\0inside-" + str(os.getpid()))()
    with subprocess.Popen(["sleep", "60"]) as child:
        child.send_signal(signal.SIGTERM)


def becomes_other_protocol() -> None:
    """Make another protocol of a TCP socket."""
    with socket.socket() as tried:
        tried.setsockopt(socket.IPPROTO_TCP, UPPER_LAYER, b"smc")


def child_in_user_namespace() -> None:
    """Fork into a new namespace, without the C library."""
    child = LIBC.syscall(ctypes.c_long(56 if X86 else 220), CLONE_NEWUSER | signal.SIGCHLD, 0, 0, 0, 0)
    if child == -1:
        raise OSError(ctypes.get_errno(), "")
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)


def enters(namespace: str) -> None:
    """Enter a namespace."""
    with open(namespace) as held:
        system_call(308 if X86 else 268, held.fileno(), 0)()


def by_child(port: int) -> None:
    """Connect in a child."""
    code = f"import socket; socket.create_connection(('127.0.0.1', {port}), 5)"
    status = subprocess.run([sys.executable, "-c", code], check=False, stderr=subprocess.DEVNULL).returncode
    if status:
        raise OSError(errno.EACCES, "")


def by_thread(port: int) -> None:
    """Connect in a thread."""
    found: list[str] = []
    thread = threading.Thread(target=lambda: found.append(told(connects(("127.0.0.1", port)))))
    thread.start()
    thread.join()
    if found != ["done"]:
        raise OSError(getattr(errno, found[0]), "")


def main() -> None:
    """Try everything."""
    known = json.loads(sys.argv[1])
    gateway, other, own, outside = known["gateway"], known["other"], known["own"], known["process"]
    loopback = ("127.0.0.1", other)
    uring = ctypes.create_string_buffer(256)
    attempts: dict[str, Callable[[], Any]] = {
        "gateway": connects(("127.0.0.1", gateway)),
        "gateway's port of another host": connects(("127.0.0.2", gateway)),
        "other port": connects(loopback),
        "other port by IPv6": connects(("::ffff:127.0.0.1", other), socket.AF_INET6),
        "other port by MPTCP": connects(loopback, protocol=262),
        "other port by fast open": fast_open(loopback, message=False),
        "other port by fast open in a message": fast_open(loopback, message=True),
        "other port from a child": lambda: by_child(other),
        "other port from a thread": lambda: by_thread(other),
        "another protocol over TCP": becomes_other_protocol,
        "names": lambda: socket.getaddrinfo("gateway.invalid", 80),
        "UDP": made(socket.AF_INET, socket.SOCK_DGRAM),
        "UDP by IPv6": made(socket.AF_INET6, socket.SOCK_DGRAM),
        "raw": made(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP),
        "netlink": made(socket.AF_NETLINK, socket.SOCK_RAW),
        "packets": made(socket.AF_PACKET, socket.SOCK_RAW),
        "the kernel's ciphers": made(socket.AF_ALG, socket.SOCK_SEQPACKET),
        "virtual machines": made(socket.AF_VSOCK, socket.SOCK_STREAM),
        "listening": listens(0),
        "listening on an own port": listens(own),
        "a named socket": unix(known["named"]),
        "an abstract socket outside": unix("\0" + known["abstract"]),
        "inside": inside,
        "a signal outside": lambda: os.kill(outside, 0),
        "memory outside": lambda: open(f"/proc/{outside}/mem", "rb").close(),
        "tracing": system_call(101 if X86 else 117, 16, outside, 0, 0),
        "io_uring": system_call(425, 8, uring),
        "a descriptor outside": system_call(438, os.pidfd_open(outside), 0, 0),
        "the network of another": lambda: enters(f"/proc/{os.getpid()}/ns/net"),
        "a child in a user namespace": child_in_user_namespace,
        "a user namespace": system_call(272 if X86 else 97, CLONE_NEWUSER),
    }
    if X86:
        attempts["calls of x32"] = system_call(0x40000000 | 39)
        attempts["a socket by x32"] = system_call(0x40000000 | 41, 2, 2, 0)
    print(json.dumps({name: told(attempt) for name, attempt in attempts.items()}), flush=True)


if __name__ == "__main__":
    main()
