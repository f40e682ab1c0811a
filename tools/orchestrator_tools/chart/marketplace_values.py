"""Values of the reference marketplace: its pods, and its configuration in the words of its own file."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field

from orchestrator_cluster.bindings import Name
from orchestrator_marketplace.marketplace_limits import Limits
from orchestrator_marketplace.marketplace_service import WebhookSettings
from orchestrator_tools.chart.pod_values import Calls, ObjectName, Peer, Pods, Replicas, SecretKey

PublicKey = Annotated[str, Field(pattern=r"-----BEGIN PUBLIC KEY-----")]
Text = Annotated[str, Field(min_length=1)]

HTTPS_AND_POSTGRESQL: Final = Calls(ports=(443, 5_432))


class MarketplaceConfiguration(BaseModel):
    """What `marketplace.yaml` says, as docs/how-to/run-a-marketplace.md has it; the chart adds operators and database.

    Attributes:
        name: The host in its address, as people write it: what they sign is for it alone.
        registries: Hosts, perhaps with a prefix, from which bundles are taken.
        limits: How much it takes, and how long it remembers.
        webhooks: How events are sent to who subscribed.
        bus_events: How many events are kept on the bus, about.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Text
    registries: Annotated[Sequence[Text], Field(min_length=1)]
    limits: Limits = Limits()
    webhooks: WebhookSettings = WebhookSettings()
    bus_events: Annotated[int, Field(ge=1)] = 10_000


class Marketplace(Pods):
    """The reference marketplace, where agents are published; tenants may reach it.

    Attributes:
        image: That of the trusted side, or another one that has the command `orchestrator`.
        replicas: How many there are; they share the database.
        database_url_secret: Address of its database (`postgresql://user:password@host/name`), which is another one than
            that of runs: theirs is known to whatever a code location runs.
        bus_url_secret: Address of a Redis (`redis://:password@host/0`) on which events are put, too; null puts them
            nowhere.
        configuration: What the marketplace does.
        operators: Public keys, PEM, by a name of their owners, who register publishers, approve, reject and withdraw.
        environment_secrets: Secrets whose entries are its environment.
        advisories_claim: Volume claim with a mirror of known weaknesses, told beside a submission; null does not look.
        callers: Who may call it, beside the tenants of the platform.
        calls: Where it may call: its database, the registries, who subscribed to webhooks, the bus.
    """

    replicas: Replicas = 1
    database_url_secret: SecretKey
    bus_url_secret: SecretKey | None = None
    configuration: MarketplaceConfiguration
    operators: Annotated[Mapping[Name, PublicKey], Field(min_length=1)]
    environment_secrets: Sequence[ObjectName] = ()
    advisories_claim: ObjectName | None = None
    callers: Sequence[Peer] = ()
    calls: Sequence[Calls] = (HTTPS_AND_POSTGRESQL,)
