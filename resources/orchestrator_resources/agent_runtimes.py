"""The Dagster resource that agent assets run with."""

import contextlib
import math
import os
from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import dagster as dg
from pydantic import Field, PrivateAttr

from orchestrator_gateway.budget_settings import EVERY, Budget
from orchestrator_resources.execution_batches import Item
from orchestrator_resources.external_gateway import CA_FILE, GUESTS_URL, GatewayAddress
from orchestrator_resources.gateway import TENANT
from orchestrator_resources.homes import guests_folder, home_folder
from orchestrator_resources.instance_state import state_folder, state_url
from orchestrator_resources.runtime_settings import RuntimeSettings
from orchestrator_resources.runtimes import Runtimes, open_runtimes
from orchestrator_resources.sealed_texts import tenant_keys_file
from orchestrator_resources.secret_variables import secret_of
from orchestrator_runtimes.errors import AgentError, ErrorCode
from orchestrator_runtimes.messages import ModelAddress


@dataclass(frozen=True, kw_only=True)
class _Kept:
    """Executions whose results are kept until the asset that they made is stored."""

    items: list[Item]
    asset: dg.AssetKey
    partition: str | None


class BudgetConfig(dg.Config):
    """What an agent, a code location or a tenant may spend in a day or a month of UTC."""

    scope: Literal["agent", "location", "tenant"] = Field(description="Whose spending is counted.")
    name: str = Field(
        default=EVERY,
        description="Of the agent (its asset's key), the code location or the tenant; * gives each a budget of this"
        " size.",
    )
    tokens: int | None = Field(
        default=None, description="Input and output tokens together; None bounds none."
    )
    cost_usd: float | None = Field(
        default=None, description="US dollars; models without a price are refused then. None bounds nothing."
    )
    calls: int | None = Field(default=None, description="Model calls; None bounds none.")
    per: Literal["day", "month"] = Field(default="day", description="When it is renewed.")

    def budget(self) -> Budget:
        """Return the budget as the gateway takes it.

        Raises:
            AgentError: `invalid_input` when it bounds nothing or is none.
        """
        try:
            return Budget(
                scope=self.scope,
                name=self.name,
                tokens=self.tokens,
                cost_usd=self.cost_usd,
                calls=self.calls,
                per=self.per,
            )
        except ValueError as error:
            raise AgentError(ErrorCode.INVALID_INPUT, f"budgets of agent_runtimes: {error}") from error


class AgentRuntimes(dg.ConfigurableResource["AgentRuntimes"]):
    """Runs agents, each in its framework's own environment; guests live as long as the Dagster step or run needs."""

    model_url: str | None = Field(
        default=None,
        description="OpenAI-compatible endpoint, up to and with /v1. None means ORCHESTRATOR_MODEL_URL, and where"
        " that is not set either, the embedded model.",
    )
    model_key: str | None = Field(
        default=None,
        description="Bearer token for model_url; use EnvVar. None means ORCHESTRATOR_MODEL_KEY, or none.",
    )
    gateway_url: str | None = Field(
        default=None,
        description="A gateway that was started with `orchestrator gateway`, such as http://gateway:8900; the agents'"
        " models are its aliases then, and model_url is not used. None means ORCHESTRATOR_GATEWAY_URL, and where that"
        " is not set either, a gateway for each run.",
    )
    gateway_secret: str | None = Field(
        default=None,
        description="Secret of the gateway at gateway_url; use EnvVar. None means ORCHESTRATOR_GATEWAY_SECRET, or what"
        " stands in the file ORCHESTRATOR_GATEWAY_SECRET_FILE.",
    )
    tenant: str | None = Field(
        default=None,
        description="Whose the executions are, for the limits and the journal of the gateway at gateway_url. None means"
        " ORCHESTRATOR_TENANT, or local.",
    )
    processes: int | None = Field(
        default=None,
        gt=0,
        description="Most guest processes of one runtime at once; None means one for each core.",
    )
    max_executions: int = Field(
        default=200, gt=0, le=1_000, description="Most executions at once in one guest process."
    )
    memory_mb: int | None = Field(
        default=None,
        gt=0,
        description="Limit of one guest's data in MiB; None sets none. A guest above it crashes.",
    )
    spare_seconds: float | None = Field(
        default=None,
        ge=0,
        description="How long a guest that was started ahead waits for the next run, which then need not wait until the"
        " framework is imported; 0 starts none. None means ORCHESTRATOR_SPARE_SECONDS, or 300.",
    )
    mcp_servers: str | None = Field(
        default=None,
        description="YAML file of the MCP servers that agents may name as `mcp: {server: NAME}`, for a run's own"
        " gateway. None means ORCHESTRATOR_MCP_SERVERS, or none.",
    )
    network: Literal["open", "gateway"] = Field(
        default="open",
        description="What guests can reach: all that this machine can (open), or the gateway alone (gateway; Linux that"
        " allows user namespaces; where guests run in containers of their own, their servers must be locked to the port"
        " of gateway_url). With gateway, a tool that calls out must be an MCP server behind the gateway.",
    )

    budgets: list[BudgetConfig] = Field(
        default=[],
        description="What agents, this code location and this machine's tenant may spend in a day or a month. A gateway"
        " at gateway_url has its own, and these are not used.",
    )
    prices: str | None = Field(
        default=None,
        description="File of a table of prices (YAML), such as your contract's; None means the one that comes with the"
        " gateway. A gateway at gateway_url has its own.",
    )

    _runtimes: Runtimes | None = PrivateAttr(default=None)
    _kept: list[_Kept] = PrivateAttr(default_factory=list["_Kept"])

    @contextlib.contextmanager
    def yield_for_execution(self, context: dg.InitResourceContext) -> Generator["AgentRuntimes"]:
        """Open the runtimes for a step or a run; end every guest after it."""
        instance = context.instance
        log = context.log
        with self.opened(state_folder(instance), log.info if log is not None else print) as runtimes:
            self._runtimes, self._kept = runtimes, []
            yield self
            if instance is not None and context.run is not None:
                self._forget_stored(instance, context.run.run_id)

    @contextlib.contextmanager
    def opened(self, state: Path, tell: Callable[[str], None]) -> Generator[Runtimes]:
        """Open the runtimes by themselves; end every guest after it.

        Args:
            state: Folder of the state of runs.
            tell: Takes a line of progress, such as of an installation.
        """
        servers = self.mcp_servers or os.environ.get("ORCHESTRATOR_MCP_SERVERS")
        settings = RuntimeSettings(
            home=home_folder(),
            state=state,
            state_url=state_url(),
            tenant=self._tenant(),
            keys=tenant_keys_file(),
            processes=self.processes,
            max_executions=self.max_executions,
            memory_mb=self.memory_mb,
            spare_seconds=self._spare_seconds(),
            network=self.network,
            mcp_servers=Path(servers) if servers else None,
            external_gateway=self._gateway(),
            budgets=tuple(budget.budget() for budget in self.budgets),
            prices=Path(self.prices) if self.prices is not None else None,
            guests=guests_folder(),
        )
        with open_runtimes(settings, model=self._address(), tell=tell) as runtimes:
            yield runtimes

    @property
    def runtimes(self) -> Runtimes:
        """The open runtimes; only inside a step."""
        if self._runtimes is None:
            raise RuntimeError("agent runtimes are open only while a step runs")
        return self._runtimes

    def forget_once_stored(self, items: list[Item], asset: dg.AssetKey, partition: str | None) -> None:
        """Drop the results that were kept for a retry, but not before the asset's value is stored.

        Storing it may fail, or the process may end before: a retry then finds them.
        """
        self._kept.append(_Kept(items=items, asset=asset, partition=partition))

    def _forget_stored(self, instance: dg.DagsterInstance, run_id: str) -> None:
        for kept in self._kept:
            partitions = [kept.partition] if kept.partition is not None else None
            records = dg.AssetRecordsFilter(asset_key=kept.asset, asset_partitions=partitions)
            latest = instance.fetch_materializations(records, limit=1).records
            if latest and latest[0].run_id == run_id:
                self.runtimes.forget(kept.items)
                self.runtimes.state.waiting_assets.end(kept.asset.to_user_string(), kept.partition)

    def _spare_seconds(self) -> float:
        if self.spare_seconds is not None:
            return self.spare_seconds
        text = os.environ.get("ORCHESTRATOR_SPARE_SECONDS", "300")
        try:
            seconds = float(text)
        except ValueError:
            seconds = -1.0
        if not 0 <= seconds < math.inf:
            raise AgentError(
                ErrorCode.INVALID_INPUT,
                f"ORCHESTRATOR_SPARE_SECONDS is {text!r}; it must be a number of seconds, 0 or more",
            )
        return seconds

    def _gateway(self) -> GatewayAddress | None:
        url = self.gateway_url or os.environ.get("ORCHESTRATOR_GATEWAY_URL")
        if not url:
            return None
        secret = self.gateway_secret or secret_of("ORCHESTRATOR_GATEWAY_SECRET")
        ca_file = os.environ.get(CA_FILE)
        return GatewayAddress(
            url=url,
            secret=secret or "",
            tenant=self._tenant() or TENANT,
            ca_file=Path(ca_file) if ca_file else None,
            guests_url=os.environ.get(GUESTS_URL) or None,
        )

    def _tenant(self) -> str | None:
        return self.tenant or os.environ.get("ORCHESTRATOR_TENANT") or None

    def _address(self) -> ModelAddress | None:
        url = self.model_url or os.environ.get("ORCHESTRATOR_MODEL_URL")
        key = self.model_key or os.environ.get("ORCHESTRATOR_MODEL_KEY")
        return ModelAddress(base_url=url, api_key=key) if url else None


AGENT_RUNTIMES = AgentRuntimes()
"""What agent assets use unless a project binds its own: one object, since Dagster merges resources by identity."""
