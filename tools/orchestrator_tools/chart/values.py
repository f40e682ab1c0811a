"""All values of the chart: what `values.yaml`, its schema and the table in the chart's README are generated from."""

from collections.abc import Mapping, Sequence
from typing import Final, Literal

from orchestrator_cluster.bindings import Name
from orchestrator_tools.chart.control_values import Control
from orchestrator_tools.chart.documented import ChartValues
from orchestrator_tools.chart.gateway_values import Gateway
from orchestrator_tools.chart.marketplace_values import Marketplace
from orchestrator_tools.chart.platform_values import Daemon, Postgresql, Runs, WebServer
from orchestrator_tools.chart.pod_values import Labels, ObjectName, Peer
from orchestrator_tools.chart.tenant_values import Gpu, Location, Tenant
from orchestrator_tools.chart.tls_values import Tls

KUBE_DNS: Final = Peer(
    namespace_selector=Labels(match_labels={"kubernetes.io/metadata.name": "kube-system"}),
    pod_selector=Labels(match_labels={"k8s-app": "kube-dns"}),
)


class Network(ChartValues):
    """Whom the NetworkPolicies take for what; calls that none of them allows are refused.

    Attributes:
        dns: Who answers for names, at port 53.
        api_server: The API server, at ports 443 and 6443; empty means anybody there, since policies know it by its
            address only.
    """

    dns: Sequence[Peer] = (KUBE_DNS,)
    api_server: Sequence[Peer] = ()


class Values(ChartValues):
    """The values of the chart.

    Attributes:
        image_pull_policy: Of all pods, those of runs among them.
        image_pull_secrets: Names of Secrets of image registries, in the namespaces of release and tenants.
        gateway: The gateway, which alone knows the keys of models and tools.
        daemon: Dagster's daemon.
        web_server: Dagster's web server.
        runs: How runs are started and watched.
        postgresql: The database.
        control: The control plane, with which many teams share the platform; null means one team, whose web server
            lets whoever can call it do everything.
        marketplace: The reference marketplace; null brings none.
        tls: TLS between the pods of the platform; null leaves what they say to each other in the clear.
        tenants: Teams by name.
        locations: Code locations by name.
        gpus: Kinds of GPUs that the cluster has.
        network: Whom the NetworkPolicies take for what.
    """

    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] = "IfNotPresent"
    image_pull_secrets: Sequence[ObjectName] = ()
    gateway: Gateway
    daemon: Daemon
    web_server: WebServer
    runs: Runs = Runs()
    postgresql: Postgresql
    control: Control | None = None
    marketplace: Marketplace | None = None
    tls: Tls | None = None
    tenants: Mapping[Name, Tenant] = {}
    locations: Mapping[Name, Location] = {}
    gpus: Sequence[Gpu] = ()
    network: Network = Network()
