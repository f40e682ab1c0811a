"""The MCP servers of a team, as an operator writes them down; agents know them by name and never see their keys."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from orchestrator_gateway.secret_sources import SecretMissing, SecretSource
from orchestrator_gateway.settings_files import BadConfiguration, read_settings

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_HEADER: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")


@dataclass(frozen=True, kw_only=True)
class McpServerSettings:
    """A server of the Model Context Protocol, reached by streamable HTTP.

    Attributes:
        url: Its endpoint, such as `https://tools.example/mcp`.
        key: Where its bearer token stands; None sends none.
        headers: Where the values of further headers stand, by name.
        tools: Names of the tools that agents may use; empty allows all.
        once: Names of the tools that are never called again when nobody knows how a call of theirs ended.
        tenants: Who may use it; empty allows everyone.
        connect_seconds: How long a connection may take.
        call_seconds: How long one answer may take; an execution's own end comes before it.
        answer_bytes: Longest answer that is taken.
    """

    url: str
    key: SecretSource | None = None
    headers: Mapping[str, SecretSource] = field(default_factory=dict[str, SecretSource])
    tools: tuple[str, ...] = ()
    once: tuple[str, ...] = ()
    tenants: tuple[str, ...] = ()
    connect_seconds: float = 10.0
    call_seconds: float = 300.0
    answer_bytes: int = 8 * 2**20

    def __post_init__(self) -> None:
        """Refuse what could never be reached or never be called."""
        if not self.url.startswith(("http://", "https://")):
            raise ValueError(f"url: {self.url!r:.80} must begin with http:// or https://")
        if self.connect_seconds <= 0 or self.call_seconds <= 0 or self.answer_bytes <= 0:
            raise ValueError("connect_seconds, call_seconds and answer_bytes are more than 0")
        if unknown := next((name for name in self.once if self.tools and name not in self.tools), None):
            raise ValueError(f"once: {unknown!r} is not among tools: add it there, or leave it out here")
        if wrong := next((name for name in self.headers if not _HEADER.fullmatch(name)), None):
            raise ValueError(f"headers: {wrong!r:.80} is no name of a header")


@dataclass(frozen=True, kw_only=True)
class McpServers:
    """A file of MCP servers, for the gateways that runs start themselves; see `Configuration.mcp_servers`."""

    mcp_servers: Mapping[str, McpServerSettings]

    def __post_init__(self) -> None:
        """Refuse names that are no part of an address."""
        check_names(self.mcp_servers)


@dataclass(frozen=True, kw_only=True)
class McpServer:
    """A server with its keys.

    Attributes:
        settings: As they stand in the file.
        headers: What every request to it carries, keys included.
    """

    settings: McpServerSettings
    headers: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)


def check_names(servers: Mapping[str, McpServerSettings]) -> None:
    """Raise `ValueError` for a name of a server that is no part of an address."""
    if wrong := next((name for name in servers if not _NAME.fullmatch(name)), None):
        raise ValueError(f"mcp_servers: {wrong!r:.80} must be letters, digits, '.', '_' and '-', 64 at most")


def read_servers(file: Path) -> dict[str, McpServer]:
    """Return the servers of a file, with their keys.

    Raises:
        BadConfiguration: It cannot be used, or a key is not where it says.
    """
    return with_keys(read_settings(McpServers, file).mcp_servers, file)


def with_keys(servers: Mapping[str, McpServerSettings], file: Path) -> dict[str, McpServer]:
    """Return servers with their keys, as they are now.

    Args:
        servers: By name.
        file: Where they were read from; relative paths of keys are relative to its folder.

    Raises:
        BadConfiguration: A key is not where it says.
    """
    found: dict[str, McpServer] = {}
    for name, settings in servers.items():
        try:
            headers = {header: source.read(file.parent) for header, source in settings.headers.items()}
            if settings.key is not None:
                headers["authorization"] = f"Bearer {settings.key.read(file.parent)}"
        except SecretMissing as error:
            raise BadConfiguration(f"{file}: mcp_servers.{name}: {error}") from error
        found[name] = McpServer(settings=settings, headers=headers)
    return found
