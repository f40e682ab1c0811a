"""Values that several components have: where their pods run, which secrets they are given, whom they may call."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Final

from pydantic import Field

from orchestrator_cluster.bindings import Name, Resources, Toleration
from orchestrator_tools.chart.documented import ChartValues

ObjectName = Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$")]
Image = Annotated[str, Field(min_length=1)]
Replicas = Annotated[int, Field(ge=1)]
Port = Annotated[int, Field(ge=1, le=65_535)]

SMALL: Final = Resources(cpu="100m", memory="512Mi")


class SecretKey(ChartValues):
    """One entry of a Secret that the operator makes: the chart makes none.

    Attributes:
        name: Of the Secret.
        key: Of the entry.
    """

    name: ObjectName
    key: Annotated[str, Field(pattern=r"^[-._a-zA-Z0-9]+$")]


class Pods(ChartValues):
    """The pods of a component.

    Attributes:
        image: Of the container, with its tag or digest.
        resources: What each pod gets: requested and, of memory, never exceeded.
        node_selector: Labels of the nodes that the pods may run on.
        tolerations: Taints of nodes that they may run on all the same.
        priority_class: Of the pods; null means the cluster's default.
    """

    image: Image
    resources: Resources = SMALL
    node_selector: Mapping[str, str] = {}
    tolerations: Sequence[Toleration] = ()
    priority_class: Name | None = None


class IpBlock(ChartValues):
    """Addresses.

    Attributes:
        cidr: Such as `10.0.0.0/8`.
        but: Parts of it that are not meant.
    """

    cidr: str
    but: Annotated[Sequence[str], Field(alias="except")] = ()


class Labels(ChartValues):
    """What has some labels; without any, all.

    Attributes:
        match_labels: All of these.
    """

    match_labels: Mapping[str, str] = {}


class Peer(ChartValues):
    """Who calls or is called, as a NetworkPolicy says it.

    Attributes:
        ip_block: By address, which does not go with the other two.
        namespace_selector: In these namespaces; null means the namespace of the policy.
        pod_selector: These pods; null means all of them.
    """

    ip_block: IpBlock | None = None
    namespace_selector: Labels | None = None
    pod_selector: Labels | None = None


class Calls(ChartValues):
    """Calls that are allowed beside those that a component cannot do without.

    Attributes:
        to: Who may be called; empty means anybody.
        ports: At which ports, by TCP; empty means all.
    """

    to: Sequence[Peer] = ()
    ports: Sequence[Port] = ()
