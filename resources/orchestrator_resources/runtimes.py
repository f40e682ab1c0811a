"""Where agents run: the guests of one Dagster process, the model they talk to, and what both need on this machine."""

import asyncio
import contextlib
import functools
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from orchestrator_gateway.journal import JournalLimits
from orchestrator_gateway.ledger import SpentByExecutions
from orchestrator_gateway.mcp_settings import McpServer, read_servers
from orchestrator_gateway.settings_files import BadConfiguration
from orchestrator_resources.approval_desk import ApprovalDesk
from orchestrator_resources.approvals import Asker
from orchestrator_resources.batch_traces import batch_traces
from orchestrator_resources.embedded_model.service import EmbeddedModel
from orchestrator_resources.environments import Environment, EnvironmentStore
from orchestrator_resources.execution_batches import (
    Batch,
    BatchFailed,
    BatchSettings,
    Item,
    Row,
)
from orchestrator_resources.external_gateway import (
    CA_FILE,
    GUESTS_URL,
    ExternalGateway,
    GatewaySteps,
)
from orchestrator_resources.gateway import LocalGateway, ModelGateway
from orchestrator_resources.gateway_outages import outliving
from orchestrator_resources.gateway_urls import GatewayUrl
from orchestrator_resources.gpus import Gpu, GpuRequest, fitting
from orchestrator_resources.guest_pool import Agent, GuestPool
from orchestrator_resources.local_keys import local_keys_file
from orchestrator_resources.loop_threads import LoopThread
from orchestrator_resources.run_state import RunState
from orchestrator_resources.runtime_settings import RuntimeSettings, gateways_folder, served_network
from orchestrator_resources.sealed_texts import KEYS_FILE, SealedTexts
from orchestrator_resources.step_journal import JournalSteps
from orchestrator_resources.tls_relays import TlsRelay, to_tls
from orchestrator_runtimes.errors import AgentError, ErrorCode
from orchestrator_runtimes.events import Event
from orchestrator_runtimes.guest_commands import GuestCommand
from orchestrator_runtimes.guest_server_messages import server_name, server_socket
from orchestrator_runtimes.messages import Initialized, ModelAddress
from orchestrator_runtimes.profiles import FrameworkProfile, installed_frameworks

CALLS: Final = "journal.db"
STEPS: Final = "steps.db"
"""Files of the journals, below `RuntimeSettings.state`."""


_LOAD_SECONDS: Final = 120.0
"""How long a guest may take to learn which tools are behind the gateway."""


def framework(name: str) -> FrameworkProfile:
    """Return the profile of an installed framework.

    Raises:
        AgentError: `agent_load_failed`, naming those that are installed.
    """
    found = installed_frameworks()
    if name not in found:
        raise AgentError(
            ErrorCode.AGENT_LOAD_FAILED,
            f"no framework {name!r} is installed; there are {', '.join(sorted(found)) or 'none'}",
        )
    return found[name]


class Runtimes:
    """The runtimes of one process: guests start with their first execution and end with `close`.

    Args:
        settings: How guests run.
        model: Where model calls go; None starts the embedded model when the first agent needs one.
        tell: Takes a line of progress, such as of an installation.

    Attributes:
        state: What runs leave for later ones.
    """

    def __init__(
        self, settings: RuntimeSettings, *, model: ModelAddress | None, tell: Callable[[str], None]
    ) -> None:
        """Begin with no guest and no model."""
        self._settings = settings
        self._model = model
        self._tell = tell
        self._loop = LoopThread("agent-runtimes")
        self._pools: dict[str, GuestPool] = {}
        self._relay: TlsRelay | None = None
        self._external = self._open_external()
        self._texts = SealedTexts(settings.keys)
        self.state: Final = RunState(settings.state, settings.state_url, texts=self._texts)
        self._steps = (
            self._loop.run(JournalSteps.opened(self._journal(STEPS), settings.keys))
            if self._external is None
            else GatewaySteps(self._external)
        )
        self._approvals = ApprovalDesk(self.state.approvals)
        self._gateways: dict[ModelAddress, LocalGateway] = {}
        self._leases = contextlib.ExitStack()
        self._environments = EnvironmentStore(settings.home)
        self._purge(time.time() - JournalLimits().retention_seconds)
        self._gateways_folder = gateways_folder(settings)

    @property
    def seals(self) -> bool:
        """Whether what executions say is kept under a key, and should stand nowhere else."""
        return self._settings.keys is not None

    @functools.cached_property
    def personal(self) -> SealedTexts:
        """What seals marked fields: the tenant's key; on a machine without tenants one that is made for it.

        Raises:
            AgentError: `invalid_input` when the run's tenant has no key, or none can be made.
        """
        if self._texts.seals:
            return self._texts
        if not self._settings.alone:
            raise AgentError(
                ErrorCode.INVALID_INPUT,
                f"marked fields are sealed by the tenant's key, and the run has none: set {KEYS_FILE} to the file of"
                " the keys of its tenant",
            )
        try:
            return SealedTexts(local_keys_file(self._settings.home))
        except OSError as error:
            raise AgentError(
                ErrorCode.INVALID_INPUT,
                f"the key of this machine cannot be made in {str(self._settings.home)!r}: {error.strerror}",
            ) from error

    def scope(self, text: str) -> str:
        """Return what a step's executions are named by; see `SealedTexts.scope`."""
        return self._texts.scope(text)

    def environment(self, profile: FrameworkProfile) -> Environment:
        """Return the environment of a framework; installs it, with progress, when it is missing.

        Raises:
            AgentError: When it cannot be installed.
        """
        lock = profile.lock()
        found = self._environments.find(lock)
        return found or self._environments.install(lock, name=profile.name, progress=self._tell)

    def model(self) -> ModelAddress:
        """Return where model calls go; starts the embedded model when no other is set.

        Raises:
            AgentError: `model_unavailable` when it does not start.
        """
        if self._external is not None:
            self._external.ready()
            return ModelAddress(base_url=f"{self._external.address}/v1")
        if self._model is None:
            embedded = EmbeddedModel(self._settings.home, progress=self._tell)
            address = self._leases.enter_context(embedded.acquire())
            self._model = ModelAddress(base_url=address.base_url, api_key=address.api_key)
        self._gateway_to(self._model)
        return self._model

    def gpus(self, request: GpuRequest | None) -> Sequence[Gpu]:
        """Return the GPUs of this machine that guests compute on; none where guests are in containers of their own.

        Raises:
            AgentError: `invalid_input` when this machine lacks what is asked for.
        """
        return () if request is None or self._settings.guests is not None else fitting(request)

    def describe(self, profile: FrameworkProfile) -> Initialized:
        """Return what a guest of a framework says of itself; starts one if none runs."""
        return self._loop.run(self._pool(profile).describe())

    def run(
        self,
        profile: FrameworkProfile,
        agent: Agent,
        items: list[Item],
        settings: BatchSettings,
        *,
        on_event: Callable[[Item, Event], None],
        on_row: Callable[[Row], None],
        askers: Mapping[str, Asker] | None = None,
    ) -> list[Row]:
        """Run a batch of executions; one execution is a batch of one.

        Args:
            profile: The framework.
            agent: What to run.
            items: The executions.
            settings: How.
            on_event: Called on the loop's thread for each event; must not block.
            on_row: Called there when an execution has ended; must not block.
            askers: Who asks people, by execution; None lets no execution ask.

        Raises:
            BatchFailed: More failed than the policy allows.
            AgentError: The runtime cannot be started.
        """
        pool = self._pool(profile)
        gateway = self._gateway_to(settings.model)

        def address_of(item: Item, loaded: str, traceparent: str | None) -> ModelAddress | None:
            if gateway is None:
                return settings.model
            gateway.ready()
            return gateway.model(
                execution=item.execution,
                agent=loaded,
                inputs=item.inputs,
                seconds=settings.limits.seconds,
                closed=self._gateways_folder is not None,
                traceparent=traceparent,
                run=settings.run,
                name=settings.name,
                location=settings.location,
                budget=settings.budget,
                bundle=settings.bundle,
            )

        run_execution = pool.run if gateway is None else outliving(gateway, pool.run)
        with self._approvals.open(askers or {}) as questions:
            if gateway is not None and _behind_gateway(agent):
                agent = replace(agent, gateway=lambda: self._loading(gateway))

            async def run() -> list[Row]:
                async with batch_traces(settings, profile.name, gateway, self._tell) as traces:
                    batch = Batch(agent, items, settings, address_of, questions, traces)
                    return await batch.run(run_execution, self.state.finished, on_event, on_row)

            try:
                return self._loop.run(run())
            except BatchFailed as failed:
                failed.spent = self.spent(items, settings.model)
                raise

    def spent(self, items: Sequence[Item], model: ModelAddress | None) -> SpentByExecutions | None:
        """Return what executions spent in all their tries, by the gateway's count; None when no gateway tells.

        Args:
            items: The executions, before they are forgotten.
            model: Where their calls went.
        """
        gateway = self._gateway_to(model)
        try:
            return None if gateway is None else gateway.spent([item.execution for item in items])
        except AgentError as error:  # the results are there; that nobody tells their cost must not lose them
            self._tell(str(error))
            return None

    def forget(self, items: list[Item]) -> None:
        """Drop the results that were kept for a retry, once they are stored as an asset."""
        executions = [item.execution for item in items]
        self.state.finished.forget(executions)
        self._loop.run(self._steps.forget(executions))
        for gateway in self._all_gateways():
            try:
                gateway.forget(executions)
            except AgentError as error:  # the asset is stored; what is kept too long harms nothing
                self._tell(str(error))

    def close(self) -> None:
        """End every guest and let the embedded model go; idempotent."""
        pools, self._pools = list(self._pools.values()), {}
        self._loop.run(_close(pools))
        self._loop.run(self._steps.close())
        for gateway in self._all_gateways():
            gateway.close()
        if self._relay is not None:
            self._loop.run(self._relay.close())
        self._loop.close()
        self._leases.close()
        self.state.close()

    def _open_external(self) -> ExternalGateway | None:
        """Return the gateway that others run, with a relay to it where guests could not verify it; None: there is none.

        Guests trust the authorities of the system alone.
        """
        address = self._settings.external_gateway
        if address is None:
            return None
        authorities = address.authorities()
        if address.ca_file is not None and authorities is not None and address.guests_url is None:
            if self._settings.guests is not None:
                raise AgentError(
                    ErrorCode.INVALID_INPUT,
                    f"{CA_FILE} is set, and guests in containers of their own do not have that file: start"
                    " `python -m orchestrator_resources.gateway_relay` in their network, and set"
                    f" {GUESTS_URL}=http://127.0.0.1:PORT",
                )
            gateway = GatewayUrl.parse(address.url)
            self._relay = to_tls(gateway.host, gateway.port, authorities)
            port = self._loop.run(self._relay.open("127.0.0.1", 0))
            address = replace(address, guests_url=f"http://127.0.0.1:{port}")
        return ExternalGateway(address, by_number=self._settings.guests is not None)

    def _loading(self, gateway: ModelGateway) -> ModelAddress:
        """Return where a guest learns which tools are behind the gateway: with a token that calls none of them."""
        gateway.ready()
        return gateway.model(
            execution="",
            agent="",
            inputs=None,
            seconds=_LOAD_SECONDS,
            closed=self._gateways_folder is not None,
        )

    def _all_gateways(self) -> list[ModelGateway]:
        return [*self._gateways.values(), *([] if self._external is None else [self._external])]

    def _gateway_to(self, model: ModelAddress | None) -> ModelGateway | None:
        """Return the gateway to an endpoint; it starts while the guests do."""
        if self._external is not None:
            return self._external
        if model is None or not self._settings.gateway:
            return None
        if model not in self._gateways:
            self._gateways[model] = LocalGateway(
                self._journal(CALLS),
                model,
                handed_over=self._gateways_folder,
                budgets=self._settings.budgets,
                prices=self._settings.prices,
                mcp_servers=_mcp_servers(self._settings.mcp_servers),
                keys=self._settings.keys,
            )
        return self._gateways[model]

    def _purge(self, older_than: float) -> None:
        """Drop what was kept for a retry that never came; a gateway does so with its own journal."""
        try:
            if isinstance(self._steps, JournalSteps):
                self._loop.run(self._steps.purge(older_than))
            self.state.finished.purge(older_than)
        except AgentError as error:  # a month more harms nothing
            self._tell(str(error))

    def _journal(self, file: str) -> str:
        return self._settings.state_url or str(self._settings.state / file)

    def _pool(self, profile: FrameworkProfile) -> GuestPool:
        digest = self._environments.digest(profile.lock())
        if digest not in self._pools:
            self._pools[digest] = GuestPool(
                self._command(profile),
                processes=self._settings.processes,
                sessions=self.state.sessions,
                journal=self._steps,
                approvals=self._approvals,
            )
        return self._pools[digest]

    def _command(self, profile: FrameworkProfile) -> GuestCommand:
        """Return how guests of a framework are started, here or by its guest server."""
        served = self._server(profile)
        command = GuestCommand.of(
            profile,
            Path() if served is not None else self.environment(profile).python,
            environment=self._settings.environment,
            max_executions=self._settings.max_executions,
            memory_mb=self._settings.memory_mb,
            spare_seconds=self._settings.spare_seconds,
            gateways=self._gateways_folder,
            served=served,
        )
        return command if served is None else replace(command.own, network=served_network(self._settings))

    def _server(self, profile: FrameworkProfile) -> Path | None:
        """Return the socket of the server of an environment, or else of its framework; None: guests are here.

        Whose folder is there has a container, which may be about to start: whoever connects waits for it.
        """
        if self._settings.guests is None:
            return None
        exact = server_name(profile.name, self._environments.digest(profile.lock()))
        for folder in (self._settings.guests / exact, self._settings.guests / profile.name):
            if folder.is_dir():
                return server_socket(folder)
        raise AgentError(
            ErrorCode.AGENT_LOAD_FAILED,
            f"{str(self._settings.guests)!r} has no folder {exact} or {profile.name} of a guest server of"
            f" {profile.name!r}: this run needs a container of it",
        )


def _behind_gateway(agent: Agent) -> bool:
    portable = agent.source.portable
    return portable is not None and any(tool.mcp is not None and tool.mcp.server for tool in portable.tools)


def _mcp_servers(file: Path | None) -> dict[str, McpServer]:
    try:
        return {} if file is None else read_servers(file)
    except BadConfiguration as error:
        raise AgentError(ErrorCode.INVALID_INPUT, str(error)) from error


async def _close(pools: list[GuestPool]) -> None:
    await asyncio.gather(*(pool.close() for pool in pools))


@contextlib.contextmanager
def open_runtimes(
    settings: RuntimeSettings, *, model: ModelAddress | None = None, tell: Callable[[str], None] = print
) -> Generator[Runtimes]:
    """Open the runtimes of this process and close them at the end, whatever happens."""
    runtimes = Runtimes(settings, model=model, tell=tell)
    try:
        yield runtimes
    finally:
        runtimes.close()
