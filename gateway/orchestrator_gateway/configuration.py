"""The configuration file of a gateway: YAML, read strictly, so that a mistake is one line that says what to change.

A section is a frozen dataclass in the module of its own domain, whose `__post_init__` raises `ValueError` for values
that make no sense; here it is one attribute of `Configuration`. What names something of another section is checked in
`Configuration.__post_init__`. Secrets are `SecretSource`: the file holds none.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from orchestrator_gateway.budget_settings import Budget
from orchestrator_gateway.journal import JournalLimits
from orchestrator_gateway.mcp_settings import McpServerSettings, check_names
from orchestrator_gateway.routes import Default, Model, UpstreamSettings
from orchestrator_gateway.secret_sources import SecretSource
from orchestrator_gateway.settings_files import BadConfiguration, read_settings
from orchestrator_gateway.telemetry import TelemetrySettings
from orchestrator_gateway.tenant_settings import TenantSettings

__all__ = ["BadConfiguration", "Configuration", "JournalSettings", "load"]


@dataclass(frozen=True, kw_only=True)
class KeySettings:
    """Where the keys of tenants stand.

    Attributes:
        file: As `orchestrator tenants keys export` writes it; relative to the configuration file. It is read again when
            it changes.
    """

    file: str


@dataclass(frozen=True, kw_only=True)
class JournalSettings:
    """Where answers are kept: exactly one of the first two.

    Attributes:
        sqlite: Path of a file, for one gateway or several on one machine; relative to the configuration file.
        postgresql: Where the connection string stands, for gateways on several machines.
        keys: Of the tenants, which seal what is kept; a tenant without one is refused. None keeps it as it is.
        limits: How much it keeps, and for how long.
    """

    sqlite: str | None = None
    postgresql: SecretSource | None = None
    keys: KeySettings | None = None
    limits: JournalLimits = field(default_factory=JournalLimits)

    def __post_init__(self) -> None:
        """Refuse a journal in two places or in none."""
        if (self.sqlite is None) == (self.postgresql is None):
            raise ValueError("a journal is {sqlite: path} or {postgresql: {env: NAME}}, and one of them only")


@dataclass(frozen=True, kw_only=True)
class Configuration:
    """What a gateway is told by its file.

    Attributes:
        secret: Signs the tokens of guests; every gateway and every run that uses them has the same one.
        journal: Where answers are kept.
        upstreams: Model endpoints by name.
        models: Aliases, which agents use as `model:`, by name.
        default: Where calls go whose model is no alias; None refuses them.
        budgets: What agents, code locations and tenants may spend.
        tenants: What tenants may use, by name; one that is not named may use all.
        prices: Path of a table of prices, relative to the configuration file; None uses the one of the package.
        log_bodies: Whether requests and answers are logged, with what looks like a key left out. They hold what users
            wrote, so they are not unless somebody looks for a fault.
        mcp_servers: Servers of the Model Context Protocol by name, whose tools agents may call.
        telemetry: Who is told of calls; the default tells nobody.
    """

    secret: SecretSource
    journal: JournalSettings
    upstreams: Mapping[str, UpstreamSettings]
    models: Mapping[str, Model] = field(default_factory=dict[str, Model])
    default: Default | None = None
    budgets: tuple[Budget, ...] = ()
    tenants: Mapping[str, TenantSettings] = field(default_factory=dict[str, TenantSettings])
    prices: str | None = None
    log_bodies: bool = False
    mcp_servers: Mapping[str, McpServerSettings] = field(default_factory=dict[str, McpServerSettings])
    telemetry: TelemetrySettings = field(default_factory=TelemetrySettings)

    def __post_init__(self) -> None:
        """Refuse names that nothing has."""
        check_names(self.mcp_servers)
        if not self.upstreams:
            raise ValueError("upstreams: there must be one at least")
        if not self.models and self.default is None:
            raise ValueError("models: there are none and no default either, so every call would be refused")
        named = [
            (f"models.{alias}.{part}[{number}]", target.upstream)
            for alias, model in self.models.items()
            for part, targets in (("targets", model.targets), ("fallbacks", model.fallbacks))
            for number, target in enumerate(targets)
        ]
        if self.default is not None:
            named += [("default", name) for name in (self.default.upstream, *self.default.fallbacks)]
        for place, name in named:
            if name not in self.upstreams:
                there = ", ".join(sorted(self.upstreams))
                raise ValueError(f"{place}: no upstream is named {name!r}; there are {there}")


def load(file: Path) -> Configuration:
    """Return what a configuration file says; secrets are not read.

    Raises:
        BadConfiguration: It cannot be read, or something in it is wrong.
    """
    return read_settings(Configuration, file)
