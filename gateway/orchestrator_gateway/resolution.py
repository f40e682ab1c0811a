"""What a configuration file comes to, with the secrets that it names: all that a gateway is told, at one moment."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from orchestrator_gateway.configuration import BadConfiguration, Configuration, JournalSettings, load
from orchestrator_gateway.dispatch import Routing
from orchestrator_gateway.mcp_settings import McpServer, with_keys
from orchestrator_gateway.prices import PriceTable, load_prices
from orchestrator_gateway.routes import UpstreamSettings
from orchestrator_gateway.secret_sources import SecretMissing, SecretSource
from orchestrator_gateway.stores import is_postgres
from orchestrator_gateway.tenant_keys import BadKeyFile, KeyFile
from orchestrator_gateway.upstream import Upstream

LEAST_SECRET_CHARACTERS: Final = 32
"""Shorter secrets can be guessed by trying them on one token."""


@dataclass(frozen=True, kw_only=True)
class Resolved:
    """A configuration and the secrets that it names; two are equal when nothing has changed.

    Attributes:
        configuration: As it stands in the file.
        secret: Signs the tokens of guests.
        journal: Path or connection string of the journal.
        tenant_keys: File of the keys of tenants; None where there are none.
        routing: Where calls go, with the keys of the upstreams.
        prices: What models cost.
        mcp_servers: MCP servers by name, with their keys.
    """

    configuration: Configuration
    secret: bytes = field(repr=False)
    journal: str = field(repr=False)
    tenant_keys: Path | None = None
    routing: Routing
    prices: PriceTable
    mcp_servers: Mapping[str, McpServer] = field(default_factory=dict[str, McpServer])


def resolve(file: Path) -> Resolved:
    """Return what a configuration file says now.

    Raises:
        BadConfiguration: It cannot be used, or a secret is not where it says.
    """
    configuration = load(file)
    secret = _read(configuration.secret, file, "secret")
    if len(secret) < LEAST_SECRET_CHARACTERS:
        needed = f"it must have {LEAST_SECRET_CHARACTERS} characters at least, such as `openssl rand -hex 32` makes"
        raise BadConfiguration(f"{file}: secret: {needed}")
    return Resolved(
        configuration=configuration,
        secret=secret.encode(),
        journal=_journal(configuration.journal, file),
        tenant_keys=_tenant_keys(configuration.journal, file),
        routing=Routing(
            upstreams=tuple(
                _upstream(name, settings, file) for name, settings in configuration.upstreams.items()
            ),
            models=configuration.models,
            default=configuration.default,
        ),
        mcp_servers=with_keys(configuration.mcp_servers, file),
        prices=load_prices(None if configuration.prices is None else file.parent / configuration.prices),
    )


def _upstream(name: str, settings: UpstreamSettings, file: Path) -> Upstream:
    key = None
    if settings.api_key is not None:
        key = _read(settings.api_key, file, f"upstreams.{name}.api_key")
    return Upstream(name=name, settings=settings, api_key=key)


def _journal(settings: JournalSettings, file: Path) -> str:
    if settings.sqlite is not None:
        return str(file.parent / settings.sqlite)
    assert settings.postgresql is not None
    url = _read(settings.postgresql, file, "journal.postgresql").strip()
    if not is_postgres(url):  # the text itself holds a password
        raise BadConfiguration(
            f"{file}: journal.postgresql: it must be a URL, such as postgresql://user@host/database"
        )
    return url


def _tenant_keys(settings: JournalSettings, file: Path) -> Path | None:
    if settings.keys is None:
        return None
    path = file.parent / settings.keys.file
    try:
        KeyFile(path)
    except BadKeyFile as error:
        raise BadConfiguration(f"{file}: journal.keys: {error}") from error
    return path


def _read(source: SecretSource, file: Path, place: str) -> str:
    try:
        return source.read(file.parent)
    except SecretMissing as error:
        raise BadConfiguration(f"{file}: {place}: {error}") from error
