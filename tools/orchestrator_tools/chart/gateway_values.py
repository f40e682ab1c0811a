"""Values of the gateway: its pods, and its configuration in the words of its own file."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field

from orchestrator_cluster.bindings import Resources
from orchestrator_gateway.budget_settings import Budget
from orchestrator_gateway.journal import JournalLimits
from orchestrator_gateway.mcp_settings import McpServerSettings
from orchestrator_gateway.routes import Default, Model, UpstreamSettings
from orchestrator_gateway.telemetry import TelemetrySettings
from orchestrator_gateway.tenant_settings import TenantSettings
from orchestrator_tools.chart.pod_values import Calls, ObjectName, Peer, Pods, Replicas, SecretKey

HTTPS: Final = Calls(ports=(443,))


class GatewayConfiguration(BaseModel):
    """What `gateway.yaml` says, as docs/how-to/run-a-gateway.md has it; the chart adds secret and journal.

    Attributes:
        upstreams: Model endpoints by name.
        models: Aliases, which agents use as `model:`, by name.
        default: Where calls go whose model is no alias; null refuses them.
        budgets: What agents, code locations and tenants may spend.
        tenants: What tenants may use, by name; one that is not named may use all. Executions are those at all gateways
            together, of which each is told its part.
        log_bodies: Whether requests and answers are logged, with what looks like a key left out.
        mcp_servers: Servers of the Model Context Protocol by name, whose tools agents may call.
        telemetry: Who is told of calls. With `prometheus` the port is the pods' port `metrics`.
        limits: How much the journal keeps, and for how long.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    upstreams: Annotated[Mapping[str, UpstreamSettings], Field(min_length=1)]
    models: Mapping[str, Model] = {}
    default: Default | None = None
    budgets: Sequence[Budget] = ()
    tenants: Mapping[str, TenantSettings] = {}
    log_bodies: bool = False
    mcp_servers: Mapping[str, McpServerSettings] = {}
    telemetry: TelemetrySettings = TelemetrySettings()
    limits: JournalLimits = JournalLimits()


class Gateway(Pods):
    """The gateway, which alone knows the keys of models and tools.

    Attributes:
        replicas: How many there are; they share the journal.
        secret: Signs the tokens of guests. A Secret of this name is needed in the namespace of each tenant, too, whose
            runs make tokens: the tenant's own, as `orchestrator tenants reconcile` makes it, or the same, which is
            good for all tenants.
        tenant_keys_secret: Where the keys of tenants stand, which seal what their agents are told and say: those of all
            beside the release, and in the namespace of each tenant its own, as `orchestrator tenants reconcile` puts
            them there. null seals nothing.
        environment_secrets: Secrets whose entries are the gateway's environment: keys that the configuration names as
            `{env: NAME}`.
        configuration: What the gateway does.
        drain_seconds: How long calls on their way have when a pod ends.
        calls: Where the gateway may call: models, tools, telemetry.
        metrics_callers: Who may read the metrics, beside nobody.
    """

    resources: Resources = Resources(cpu="250m", memory="512Mi")
    replicas: Replicas = 2
    secret: SecretKey
    tenant_keys_secret: SecretKey | None = None
    environment_secrets: Sequence[ObjectName] = ()
    configuration: GatewayConfiguration
    drain_seconds: Annotated[int, Field(ge=0)] = 60
    calls: Sequence[Calls] = (HTTPS,)
    metrics_callers: Sequence[Peer] = ()
