"""How guests run on this machine, and which network they have there."""

import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from orchestrator_gateway.budget_settings import Budget
from orchestrator_resources.external_gateway import GatewayAddress
from orchestrator_runtimes.errors import AgentError, ErrorCode
from orchestrator_runtimes.private_folders import private_folder
from orchestrator_runtimes.served_networks import ServedNetwork


@dataclass(frozen=True, kw_only=True)
class RuntimeSettings:
    """How guests run on this machine.

    Attributes:
        home: Folder of environments and models.
        state: Folder of the state of runs, and of the journals; of the Dagster instance.
        state_url: A PostgreSQL database that takes the folder's place; None keeps files.
        tenant: Whose the runs are; None where nobody said that there are tenants.
        keys: File of the keys of the runs' tenant, which seal what its executions said; None keeps it as it is.
        processes: Most guest processes of one runtime; None means one for each core.
        max_executions: Most executions at once in one process.
        memory_mb: Limit of a guest's data in MiB; None sets none.
        spare_seconds: How long a guest that was started ahead waits for the next run; 0 starts none.
        network: What guests can reach: `open` is what this process can, `gateway` nothing but the gateway.
        gateway: Whether model calls pass a gateway, which journals them; without it a retry repeats them.
        external_gateway: A gateway that others run; None starts one for this process.
        budgets: What agents, code locations and the tenant may spend, for a gateway that is started for this process.
        prices: File of a table of prices for that gateway; None uses the one of its package.
        mcp_servers: File of the MCP servers behind that gateway; None means there are none.
        environment: Variables that every guest gets beside those of its framework.
        guests: Holds a folder for each guest server, which start all guests in containers of their own; no
            environment is needed here then. None starts guests here.
    """

    home: Path
    state: Path
    state_url: str | None = field(default=None, repr=False)
    tenant: str | None = None
    keys: Path | None = None
    processes: int | None = None
    max_executions: int = 200
    memory_mb: int | None = None
    spare_seconds: float = 0.0
    network: Literal["open", "gateway"] = "open"
    gateway: bool = True
    external_gateway: GatewayAddress | None = None
    budgets: tuple[Budget, ...] = ()
    prices: Path | None = None
    mcp_servers: Path | None = None
    environment: dict[str, str] = field(default_factory=dict[str, str])
    guests: Path | None = None

    @property
    def alone(self) -> bool:
        """Whether all of a run is on this machine and of no tenant: state in files, gateway and guests of its own."""
        shared = (self.tenant, self.state_url, self.external_gateway, self.guests)
        return all(one is None for one in shared)


def gateways_folder(settings: RuntimeSettings) -> Path | None:
    """Return where guests of this machine find the gateways that are all they can reach; None when that is more.

    Raises:
        AgentError: `invalid_input` when the settings contradict each other, `state_unavailable` when there is no room.
    """
    if settings.network == "open":
        return None
    if settings.guests is not None:
        if settings.external_gateway is None:
            raise AgentError(
                ErrorCode.INVALID_INPUT,
                "network is 'gateway', and guests run in containers of their own, which are locked to one port: set"
                " gateway_url, or network: open",
            )
        return None  # their server closes them
    if not settings.gateway:
        raise AgentError(
            ErrorCode.INVALID_INPUT,
            "network is 'gateway', but there is no gateway: set gateway, or network: open",
        )
    if settings.external_gateway is not None:
        raise AgentError(
            ErrorCode.INVALID_INPUT,
            "network is 'gateway' only with the gateway that a run starts itself: leave gateway_url out, or close the"
            " guests' network around the machine",
        )
    folder = private_folder("gateways")
    if folder is None:
        raise AgentError(
            ErrorCode.STATE_UNAVAILABLE,
            f"no folder of this user alone can be made in {tempfile.gettempdir()!r}: remove what is in its place",
        )
    return folder


def served_network(settings: RuntimeSettings) -> ServedNetwork:
    """Return what guests of other containers must be able to reach."""
    closed = settings.network == "gateway"
    if settings.external_gateway is None:
        return ServedNetwork(closed=closed)
    gateway = settings.external_gateway.of_guests
    return ServedNetwork(gateway_port=gateway.port, name=gateway.name, closed=closed)
