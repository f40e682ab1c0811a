"""The locked network of a guest server's container: the gateway's port, and ports that guests listen on themselves."""

import random
import socket
from contextlib import closing
from typing import Final

from orchestrator_runtimes import network_locks

_OWN: Final = range(15_000, 32_000)
"""Below the ports that systems choose for connections, so that none of those takes one of them."""


class LockedNetwork:
    """This process, locked. Make it with `close`.

    Attributes:
        gateway_port: All that it can connect to by TCP.
    """

    def __init__(self, gateway_port: int, ports: list[tuple[int, ...]]) -> None:
        """See `close`."""
        self.gateway_port: Final = gateway_port
        self._ports = ports

    @classmethod
    def close(cls, gateway_port: int, *, guests: int, each: int) -> "LockedNetwork":
        """Lock this process and all that it will start; call it while there is one thread.

        Args:
            gateway_port: All that may be connected to by TCP.
            guests: Most guests at once.
            each: How many ports of loopback each of them listens on itself.

        Raises:
            OSError: The system cannot lock it, or has no ports left.
        """
        if not 0 < gateway_port < 2**16:
            raise OSError(f"the gateway's port is {gateway_port}; it must be 1 to 65535")
        found = _free_ports(guests * each, gateway_port)
        network_locks.lock(gateway_port, found)
        return cls(gateway_port, [tuple(found[n * each : (n + 1) * each]) for n in range(guests)])

    def take_ports(self) -> tuple[int, ...]:
        """Return the ports of a guest that is about to start."""
        return self._ports.pop(0)

    def give_back(self, ports: tuple[int, ...]) -> None:
        """Let another guest have them: theirs has ended. They are the last to be taken again."""
        self._ports.append(ports)


def _free_ports(count: int, without: int) -> list[int]:
    """Return ports of loopback that nobody listens on now; other containers of the pod share it."""
    found: list[int] = []
    for port in random.sample(_OWN, len(_OWN)):
        if len(found) == count:
            break
        with closing(socket.socket()) as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        if port != without:
            found.append(port)
    if len(found) < count:
        raise OSError(f"no {count} ports of loopback are free, of {len(_OWN)} that were tried")
    return found
