"""What each code location may have on the cluster: control-plane data, which no code location can change."""

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from orchestrator_resources.gateway_urls import GatewayUrl

_NAME: Final = r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$"
_QUANTITY: Final = r"^[0-9]+(\.[0-9]+)?(m|k|Ki|M|Mi|G|Gi|T|Ti)?$"
_REPOSITORY: Final = r"^[a-z0-9.-]+(:[0-9]+)?(/[a-z0-9]+([._-]+[a-z0-9]+)*)+$"
_OF_REPOSITORY: Final = re.compile(r"(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?(@sha256:[0-9a-f]{64})?")
"""What may follow a repository's name: a tag, a digest."""

Name = Annotated[str, Field(pattern=_NAME)]
ObjectName = Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$")]
Quantity = Annotated[str, Field(pattern=_QUANTITY)]
Repository = Annotated[str, Field(pattern=_REPOSITORY)]


class BadBindings(ValueError):
    """What was written is none; the text says where and what to change."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Toleration(_Strict):
    """A taint of nodes that pods may run on all the same.

    Attributes:
        key: Of the taint.
        operator: Whether the taint only has to be there, or has to have the value.
        value: Of the taint; None with `Exists`.
        effect: Of the taint; None means all.
    """

    key: str
    operator: Literal["Exists", "Equal"] = "Exists"
    value: str | None = None
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = None


class SecretEntry(_Strict):
    """One entry of a Secret in the namespace of the runs.

    Attributes:
        name: Of the Secret.
        key: Of the entry.
    """

    name: ObjectName
    key: str = Field(pattern=r"^[-._a-zA-Z0-9]+$")


class Resources(_Strict):
    """What a container gets: requested and, of memory, never exceeded.

    Attributes:
        cpu: Cores, such as `500m` for half a one.
        memory: Such as `1Gi`.
    """

    cpu: Quantity = "500m"
    memory: Quantity = "1Gi"


class GpuType(_Strict):
    """A kind of GPU, or of a slice of one, that the cluster has.

    Attributes:
        name: What agents call it, such as `H100` or `H100-1g.10gb`; `gpu.type` is contained in it.
        memory_mb: Memory of each, in MiB.
        resource: The extended resource that a device plug-in offers: `nvidia.com/gpu`, `nvidia.com/mig-1g.10gb`, or
            `nvidia.com/gpu.shared` of one that is time-sliced.
        node_selector: Labels of the nodes that have it.
        tolerations: Taints of these nodes.
    """

    name: str = Field(min_length=1)
    memory_mb: int = Field(gt=0)
    resource: str = Field(default="nvidia.com/gpu", pattern=r"^[a-z0-9.-]+/[A-Za-z0-9._-]+$")
    node_selector: Mapping[str, str] = {}
    tolerations: Sequence[Toleration] = ()


class WarmPods(_Strict):
    """Pods that wait for a run of a location, so that it begins at once; each serves one run, and ends with it.

    Attributes:
        size: Most that wait, of all kinds that the location's latest runs were; 0 keeps none. Those with GPUs are never
            kept: they would hold what others wait for.
        seconds: How old one may become, since what is in it may be outdated; another takes its place.
    """

    size: int = Field(default=0, ge=0, le=100)
    seconds: int = Field(default=3_600, ge=30)


class LocationBinding(_Strict):
    """What one code location may have.

    Attributes:
        tenant: Whose it is.
        namespace: Where its runs are.
        service_account: Of their pods; no container is given its token.
        image: Image of the location, in which Dagster runs; None takes the one that its code server names.
        repositories: Where that one must come from: repositories without tag, such as `registry.example/acme/agents`.
        gateway_url: The gateway of its agents, such as `http://gateway.platform:8900`; None leaves it to the location.
            With https, guests reach it by a relay in their pod.
        ca_config_map: Where, as `ca.crt`, the certificates stand that verify gateway and database; None trusts those of
            the system.
        network: What its guests can reach: `gateway` locks them to the port of `gateway_url`, and a network policy must
            see to it that this port leads nowhere else; `open` is what their pod can.
        tenant_keys_secret: Where the key of the tenant stands, which seals what runs keep; None seals nothing. Only the
            container that runs Dagster is given it.
        images: Image of each runtime, by the digest of its lock, or by the name of its framework for the plain one,
            which has the environment that this version comes with and no other.
        run: What the container that runs Dagster gets.
        guest: What each guest server gets.
        max_gpus: Most GPUs of one run.
        gpu_types: Names of those that it may use, of the cluster's.
        node_selector: Labels of the nodes that its pods may run on.
        tolerations: Taints of these nodes.
        priority_class: Of its pods; None means the cluster's default.
        warm: Which of its pods wait for a run.
    """

    tenant: Name
    namespace: Name
    service_account: Name = "default"
    image: str | None = Field(default=None, min_length=1)
    repositories: Sequence[Repository] = ()
    gateway_url: str | None = None
    ca_config_map: ObjectName | None = None
    network: Literal["gateway", "open"] = "gateway"
    tenant_keys_secret: SecretEntry | None = None
    images: Mapping[str, str] = {}
    run: Resources = Resources()
    guest: Resources = Resources()
    max_gpus: int = Field(default=0, ge=0)
    gpu_types: Sequence[str] = ()
    node_selector: Mapping[str, str] = {}
    tolerations: Sequence[Toleration] = ()
    priority_class: Name | None = None
    warm: WarmPods = WarmPods()

    @model_validator(mode="after")
    def _one_way_to_an_image(self) -> Self:
        if (self.image is None) == (not self.repositories):
            raise ValueError("either `image`, or `repositories` that the code server's own may come from")
        return self

    def takes_image(self, named: str) -> bool:
        """Return whether an image that a code server names comes from one of the location's repositories."""
        return any(
            named.startswith(repository) and _OF_REPOSITORY.fullmatch(named, len(repository))
            for repository in self.repositories
        )

    @property
    def gateway_port(self) -> int | None:
        """The port that guests are locked to; None where their network is open."""
        if self.network == "open" or self.gateway_url is None:
            return None
        return GatewayUrl.parse(self.gateway_url).port

    @property
    def relayed_port(self) -> int | None:
        """The port of loopback at which guests find a gateway that speaks TLS: its own; None where it speaks none."""
        gateway = None if self.gateway_url is None else GatewayUrl.parse(self.gateway_url)
        return None if gateway is None or gateway.scheme == "http" else gateway.port

    @model_validator(mode="after")
    def _check_network(self) -> Self:
        """Refuse a lock that would keep guests from their gateway."""
        if self.gateway_url is not None:
            GatewayUrl.parse(self.gateway_url)
        elif self.network == "gateway":
            raise ValueError(
                "network is 'gateway', and there is none to lock guests to: set gateway_url, or network: open"
            )
        return self


class Bindings(_Strict):
    """The code locations of a cluster, by name, and the kinds of GPUs that it has."""

    locations: Mapping[str, LocationBinding]
    gpus: Sequence[GpuType] = ()


def read_bindings(written: Any) -> Bindings:
    """Return bindings as they stand in the configuration of the run launcher.

    Raises:
        BadBindings: They are none, or name a kind of GPU that the cluster does not have.
    """
    try:
        bindings = Bindings.model_validate(written)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise BadBindings(f"{where}: {first['msg']}") from error
    known = {gpu.name for gpu in bindings.gpus}
    for name, location in bindings.locations.items():
        unknown = [gpu for gpu in location.gpu_types if gpu not in known]
        if unknown:
            there = ", ".join(sorted(known)) or "none"
            raise BadBindings(
                f"locations.{name}.gpu_types: {unknown[0]!r} is not among the cluster's; there are {there}"
            )
    return bindings
