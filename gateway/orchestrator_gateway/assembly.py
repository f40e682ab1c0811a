"""A gateway put together: its parts are opened and closed in one order, whoever starts it."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from orchestrator_gateway.budget_settings import Budget
from orchestrator_gateway.budgets import Budgets
from orchestrator_gateway.dispatch import Routing
from orchestrator_gateway.handed_connections import HandedConnections
from orchestrator_gateway.journal import JournalLimits
from orchestrator_gateway.mcp_settings import McpServer
from orchestrator_gateway.prices import PriceTable, load_prices
from orchestrator_gateway.retention import purging
from orchestrator_gateway.server import Gateway, GatewaySettings, runner
from orchestrator_gateway.stores import open_store
from orchestrator_gateway.telemetry import TelemetrySettings, open_telemetry
from orchestrator_gateway.tenant_keys import KeyFile
from orchestrator_gateway.tls_files import HANDSHAKE_SECONDS, ServerCertificate

_BACKLOG: Final = 1_024


@dataclass(frozen=True, kw_only=True)
class Parts:
    """What a gateway is made of.

    Attributes:
        secret: Signs the tokens of guests.
        journal: Path of an SQLite file, or URL of a PostgreSQL database.
        limits: What the journal keeps.
        keys: Of the tenants, which seal what the journal keeps; None keeps it as it is.
        routing: Where calls go.
        host: Address to listen at.
        port: Port to listen at; 0 takes a free one.
        certificate: What it shows; None speaks no TLS.
        drain_seconds: How long it stays at the end for calls that are on their way.
        budgets: What agents, code locations and tenants may spend.
        prices: What models cost; None is the table of the package.
        handed_over: Folder of the socket for guests that can reach nothing else; None makes none.
        telemetry: Who is told of calls.
        mcp_servers: MCP servers by name.
    """

    secret: bytes = field(repr=False)
    journal: str
    routing: Routing
    host: str = "127.0.0.1"
    port: int = 0
    certificate: ServerCertificate | None = None
    drain_seconds: float
    limits: JournalLimits = field(default_factory=JournalLimits)
    keys: KeyFile | None = None
    budgets: tuple[Budget, ...] = ()
    prices: PriceTable | None = None
    handed_over: Path | None = None
    telemetry: TelemetrySettings = field(default_factory=TelemetrySettings)
    mcp_servers: Mapping[str, McpServer] = field(default_factory=dict[str, McpServer])


@dataclass(frozen=True, kw_only=True)
class Serving:
    """A gateway that serves.

    Attributes:
        gateway: It.
        address: Its base URL, without `/v1`.
        telemetry: Whether anybody is told of executions.
    """

    gateway: Gateway
    address: str
    telemetry: bool


@contextlib.asynccontextmanager
async def serving(parts: Parts) -> AsyncGenerator[Serving]:
    """Serve until the block ends, and then until the calls that are on their way are recorded.

    Raises:
        JournalUnavailable: The journal cannot be opened.
        OSError: The address cannot be listened at.
        TelemetryUnavailable: What the settings say of telemetry cannot be had.
    """
    async with contextlib.AsyncExitStack() as closing:
        telemetry = open_telemetry(parts.telemetry)
        closing.push_async_callback(telemetry.close)
        await telemetry.open(None if parts.certificate is None else parts.certificate.context)
        store = await open_store(parts.journal, parts.limits, keys=parts.keys)
        closing.push_async_callback(store.close)
        await closing.enter_async_context(purging(store, parts.limits.retention_seconds))
        budgets = Budgets(store.ledger, parts.prices or load_prices(), parts.budgets)
        closing.push_async_callback(budgets.close)
        settings = GatewaySettings(secret=parts.secret, routing=parts.routing, limits=parts.limits)
        gateway = Gateway(settings, store.journal, budgets, telemetry)
        gateway.mcp.servers = parts.mcp_servers
        running = runner(gateway)
        closing.push_async_callback(running.cleanup)
        await running.setup()
        gateway.connections.server = running.server
        tls = parts.certificate
        listening = await asyncio.get_running_loop().create_server(
            gateway.connections,
            parts.host,
            parts.port,
            backlog=_BACKLOG,
            ssl=None if tls is None else tls.context,
            ssl_handshake_timeout=None if tls is None else HANDSHAKE_SECONDS,
        )
        port = listening.sockets[0].getsockname()[1]
        host = f"[{parts.host}]" if ":" in parts.host else parts.host
        if parts.handed_over is not None:
            closing.callback(HandedConnections(parts.handed_over / str(port), gateway.connections).close)
        try:
            scheme = "http" if tls is None else "https"
            yield Serving(gateway=gateway, address=f"{scheme}://{host}:{port}", telemetry=telemetry.told)
        finally:
            listening.close()
            await gateway.drain(parts.drain_seconds)
