"""What a run expects of the network of guests that another container's server starts."""

from dataclasses import dataclass

from orchestrator_runtimes.errors import AgentError, ErrorCode


@dataclass(frozen=True, kw_only=True)
class ServedNetwork:
    """What guests must be able to reach, and whether that must be all.

    Attributes:
        gateway_port: Port of the run's gateway; None where it has none that another container could reach by a port.
        name: Host name of the gateway that guests must resolve; None where they are given its address.
        closed: Whether they must reach nothing else.
    """

    gateway_port: int | None = None
    name: str | None = None
    closed: bool = False

    def fault(self, framework: str, reached: int | None) -> AgentError | None:
        """Return what is wrong with the network of a guest; None when nothing is.

        Args:
            framework: Of the guest.
            reached: All that it can connect to by TCP, as its server told; None where its network is open.
        """
        server = f"the guest server of {framework!r}"
        if reached is None:
            if not self.closed:
                return None
            return _wrong(
                f"network is 'gateway', but {server} leaves its guests' open: start it with --gateway-port"
                f" {self.gateway_port}, or set network: open"
            )
        locked = f"{server} locks its guests to the port {reached}"
        if self.gateway_port is None:
            return _wrong(f"{locked}, and this run has a gateway of its own or none: set gateway_url")
        if self.gateway_port != reached:
            return _wrong(
                f"{locked}, and the gateway is at {self.gateway_port}: start the server with --gateway-port"
                f" {self.gateway_port}, or change gateway_url"
            )
        if self.name is not None:
            return _wrong(
                f"{locked}, so they cannot resolve {self.name!r}: set gateway_url to http, or to an address that the"
                " gateway's certificate names"
            )
        return None


def _wrong(message: str) -> AgentError:
    return AgentError(ErrorCode.INVALID_INPUT, message)
