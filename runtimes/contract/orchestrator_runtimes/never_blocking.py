"""A socket that came from the hostile side, made safe for an event loop."""

import os
import socket
from collections.abc import Iterable
from typing import Any


class NotAConnection(ValueError):
    """A descriptor is no connected unix stream socket."""


class NeverBlockingSocket(socket.socket):
    """A socket whose other holder may make it blocking at any moment, since both share its flags.

    Every call says for itself that it must not wait, so no such change can stop the loop.
    """

    @classmethod
    def take(cls, descriptor: int) -> "NeverBlockingSocket":
        """Take over a descriptor; it is closed when it is refused.

        Raises:
            NotAConnection: It is no connected unix stream socket.
        """
        try:
            taken = cls(fileno=descriptor)
        except OSError as error:
            os.close(descriptor)
            raise NotAConnection("it is no socket") from error
        try:
            if taken.family != socket.AF_UNIX or taken.type != socket.SOCK_STREAM:
                raise NotAConnection("it is no unix stream socket")
            if taken.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
                raise NotAConnection("it listens")
            taken.getpeername()
            taken.setblocking(False)
        except NotAConnection:
            taken.close()
            raise
        except OSError as error:
            taken.close()
            raise NotAConnection("it is not connected") from error
        return taken

    def recv(self, bufsize: int, flags: int = 0, /) -> bytes:
        """Receive what is there."""
        return super().recv(bufsize, flags | socket.MSG_DONTWAIT)

    def recv_into(self, buffer: Any, nbytes: int = 0, flags: int = 0) -> int:
        """Receive what is there."""
        return super().recv_into(buffer, nbytes, flags | socket.MSG_DONTWAIT)

    def send(self, data: Any, flags: int = 0, /) -> int:
        """Send what there is room for."""
        return super().send(data, flags | socket.MSG_DONTWAIT)

    def sendmsg(
        self,
        buffers: Iterable[Any],
        ancdata: Iterable[Any] = (),
        flags: int = 0,
        address: Any = None,
        /,
    ) -> int:
        """Send what there is room for."""
        return super().sendmsg(buffers, ancdata, flags | socket.MSG_DONTWAIT, address)
