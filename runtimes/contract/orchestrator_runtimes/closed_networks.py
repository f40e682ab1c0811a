"""A guest's network that holds nothing but its own loopback and the way to this user's gateways: Linux only.

The guest gets a network namespace of its own. A listener in it, which its guardian holds, takes connections to any
loopback address; the address names the gateway, and the guardian hands the connection itself over to that gateway's
socket. So no byte is copied on the way, and there is nothing else that the guest could name.

Standard library only and no import of ours: the guardian loads this file by its path. Names from namespaces(7),
user_namespaces(7), netdevice(7).
"""

import contextlib
import ctypes
import fcntl
import os
import socket
import struct
import sys

PORT = 8000
"""Where the guest finds every gateway, at the address that `host_of` returns."""

CLONE_NEWUSER = 0x10000000
CLONE_NEWNET = 0x40000000
SIOCSIFFLAGS = 0x8914
IFF_UP = 1
RECEIVE_SECONDS = 10.0
HAND_OVER_SECONDS = 1.0
NO_NAMESPACE = 126
"""Exit status of a guest that could not be closed in: a shell's for a program that it may not run."""


def host_of(gateway_port: int) -> str:
    """Return the loopback address at which a closed-in guest finds the gateway that listens on a port."""
    return f"127.1.{gateway_port >> 8}.{gateway_port & 0xFF}"


def port_of(host: str) -> int | None:
    """Return the port of the gateway that an address names; None when it names none."""
    parts = host.split(".")
    if len(parts) != 4 or parts[:2] != ["127", "1"]:
        return None
    return int(parts[2]) << 8 | int(parts[3])


def close_in(door: socket.socket) -> None:
    """Run in the guest before its program: leave the network for an empty one, and send its listener to the guardian.

    Ends the process where the system does not allow it: a guest is never let out instead.
    """
    try:
        _leave_network()
        with socket.socket() as loopback:
            fcntl.ioctl(loopback, SIOCSIFFLAGS, struct.pack("16sh22x", b"lo", IFF_UP))
        with socket.socket() as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(("0.0.0.0", PORT))
            listener.listen(1_024)
            socket.send_fds(door, [b"1"], [listener.fileno()])
    except OSError as error:
        words = (
            f"the guest cannot get a network of its own: {error}; allow user namespaces"
            " (kernel.unprivileged_userns_clone, AppArmor, seccomp), or set network: open\n"
        )
        os.write(2, words.encode())
        os._exit(NO_NAMESPACE)
    door.close()


def _leave_network() -> None:
    if sys.platform != "linux":
        raise OSError("there are network namespaces on Linux only")
    uid, gid = os.geteuid(), os.getegid()
    libc = ctypes.CDLL(None, use_errno=True)
    # of a user namespace of its own, too: root could enter the old network again
    if libc.unshare(CLONE_NEWUSER | CLONE_NEWNET) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    for name, text in (("setgroups", "deny"), ("uid_map", f"{uid} {uid} 1"), ("gid_map", f"{gid} {gid} 1")):
        with open(f"/proc/self/{name}", "w") as file:
            file.write(text)


class Door:
    """The guardian's side: what leads from the guest to gateways.

    Attributes:
        guest_end: What the guest gets; closed here by `receive`.
        listener: In the guest's network; None before `receive`, and where there is none.
    """

    def __init__(self, gateways: str) -> None:
        """Begin with no listener; `gateways` is the folder of the gateways' sockets, named by their ports."""
        self._gateways = gateways
        self._own_end, self.guest_end = socket.socketpair()
        self.listener: socket.socket | None = None

    def receive(self) -> None:
        """Take the listener that the guest sent, once it is started; a guest that sent none has ended."""
        self.guest_end.close()
        self._own_end.settimeout(RECEIVE_SECONDS)
        with contextlib.suppress(OSError), self._own_end:
            _, descriptors, _, _ = socket.recv_fds(self._own_end, 1, 1)
            if descriptors:
                self.listener = socket.socket(fileno=descriptors[0])
                self.listener.setblocking(False)

    def let_through(self) -> None:
        """Hand a connection of the guest over to the gateway that it names, or close it."""
        assert self.listener is not None
        try:
            connection, _ = self.listener.accept()
        except OSError:
            return  # it is gone again
        with connection, socket.socket(socket.AF_UNIX) as gateway:
            port = port_of(connection.getsockname()[0])
            gateway.settimeout(HAND_OVER_SECONDS)
            with contextlib.suppress(OSError):
                if port is not None:
                    gateway.connect(os.path.join(self._gateways, str(port)))
                    socket.send_fds(gateway, [b"1"], [connection.fileno()])
