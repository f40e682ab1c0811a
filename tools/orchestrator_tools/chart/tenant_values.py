"""Values of tenants and their code locations, from which the run launcher's bindings are made."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Literal

from pydantic import Field

from orchestrator_cluster.bindings import Name, Quantity, Repository, Resources, Toleration
from orchestrator_tools.chart.documented import ChartValues
from orchestrator_tools.chart.pod_values import SMALL, Calls, Image, ObjectName

Amount = Annotated[int, Field(ge=0)]


class Quota(ChartValues):
    """What all pods of a tenant may have together; null sets no limit.

    Attributes:
        pods: How many there are.
        cpu: That they request.
        memory: That they request, and may use.
        storage: That its volume claims request.
        gpus: That they request, by resource, such as `nvidia.com/gpu`; one that is not named has no limit here.
    """

    pods: Amount | None = 50
    cpu: Quantity | None = None
    memory: Quantity | None = None
    storage: Quantity | None = None
    gpus: Mapping[str, Amount] = {}


class Account(ChartValues):
    """Somebody whom the API server knows.

    Attributes:
        kind: What it is.
        name: Of it.
        namespace: Of a service account; null means the tenant's.
    """

    kind: Literal["User", "Group", "ServiceAccount"]
    name: Annotated[str, Field(min_length=1)]
    namespace: Name | None = None


class Tenant(ChartValues):
    """A team: its code servers and runs are in a namespace of its own.

    Attributes:
        namespace: Its name; null means that of the release and the tenant's.
        create_namespace: Whether the chart makes it. It then stays when the release goes: the Secrets in it are not
            the chart's. One that is there already needs the labels of Pod Security.
        quota: What its pods may have together.
        deployers: Who may give its code servers other images with `orchestrator deploy`.
        calls: Where its runs and code servers may call, beside gateway, database and DNS. Ports have to be named, and
            8900 is none of them: guests are locked to it, since it is the gateway's.
    """

    namespace: Name | None = None
    create_namespace: bool = True
    quota: Quota = Quota()
    deployers: Sequence[Account] = ()
    calls: Sequence[Calls] = ()


class Gpu(ChartValues):
    """A kind of GPU, or of a slice of one, that the cluster has.

    Attributes:
        name: What agents call it, such as `H100` or `H100-1g.10gb`.
        memory_mb: Memory of each, in MiB.
        resource: The extended resource that a device plug-in offers.
        node_selector: Labels of the nodes that have it.
        tolerations: Taints of these nodes.
    """

    name: Annotated[str, Field(min_length=1)]
    memory_mb: Annotated[int, Field(gt=0)]
    resource: Annotated[str, Field(pattern=r"^[a-z0-9.-]+/[A-Za-z0-9._-]+$")] = "nvidia.com/gpu"
    node_selector: Mapping[str, str] = {}
    tolerations: Sequence[Toleration] = ()


class Warm(ChartValues):
    """Pods that wait for a run of a location, so that it begins at once; each serves one run.

    Attributes:
        size: Most that wait, of all kinds that the location's latest runs were; 0 keeps none. They count to the
            tenant's quota, and make way where a run waits for it.
        seconds: How old one may become; another takes its place.
    """

    size: Annotated[int, Field(ge=0, le=100)] = 0
    seconds: Annotated[int, Field(ge=30)] = 3_600


class Location(ChartValues):
    """A code location: one code server, and what its runs may have.

    Attributes:
        tenant: Whose it is.
        image: Of the code server, and of the container of a run in which Dagster is.
        repositories: Where the image of runs may come from, without tag, such as `registry.example/acme/agents`: then
            the code server says which it is, a new one needs no new daemon, and what `orchestrator deploy` has given it
            stays in an upgrade. Empty means that of `image` alone.
        module: Python module that has the definitions.
        server: What the code server gets.
        service_account: Of the runs' pods, for identities of a cloud; null means one that may do nothing. No container
            is given its token.
        network: What its guests can reach: `gateway` locks them to the gateway, `open` is what their pod can.
        images: Image of each runtime, by the digest of its lock, or by the name of its framework for the plain one,
            which has the environment that this version comes with and no other.
        run: What the container of a run in which Dagster is gets.
        guest: What each guest server gets.
        max_gpus: Most GPUs of one run.
        gpu_types: Names of those that it may use, of `gpus`.
        node_selector: Labels of the nodes that its pods may run on.
        tolerations: Taints of these nodes.
        priority_class: Of its pods; null means the cluster's default.
        warm: Which of its pods wait for a run.
    """

    tenant: Name
    image: Image
    module: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*$")]
    server: Resources = SMALL
    service_account: ObjectName | None = None
    repositories: Sequence[Repository] = ()
    network: Literal["gateway", "open"] = "gateway"
    images: Mapping[str, Image] = {}
    run: Resources = Resources()
    guest: Resources = Resources()
    max_gpus: Amount = 0
    gpu_types: Sequence[str] = ()
    node_selector: Mapping[str, str] = {}
    tolerations: Sequence[Toleration] = ()
    priority_class: Name | None = None
    warm: Warm = Warm()
