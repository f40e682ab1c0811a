"""Organisations, plans and tenants as data: what an operator writes, and what all that knows of tenants reads."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final, Literal, Protocol, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from orchestrator_cluster.bindings import Quantity, Resources
from orchestrator_tenancy.identities import Role

TENANT_NAME: Final = r"^[a-z](-?[a-z0-9])+$"
"""A DNS label without `--`, which can so separate it from other parts of a name."""

_MODULE: Final = r"^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*$"

TenantName = Annotated[str, Field(pattern=TENANT_NAME, max_length=30)]
LocationName = Annotated[str, Field(pattern=r"^[a-z](-?[a-z0-9])*$", max_length=40)]
"""Part of a DNS label: objects of a cluster are called by it."""
Amount = Annotated[int, Field(ge=0)]


class BadTenancy(ValueError):
    """What was written is none; the text says where and what to change."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Quotas(_Strict):
    """What a tenant may have at once, or in a month of UTC; None sets no limit.

    Attributes:
        runs: Runs that are starting or started.
        queued_runs: Runs that wait; a further one is refused.
        executions: Executions of agents that call models at once; calls of further ones wait.
        gpus: GPUs of all its runs.
        cpu: Cores that its pods request.
        memory: That its pods request.
        storage: Of its outputs and volumes.
        tokens: Of its model calls in a month.
        cost_usd: Of its model calls in a month.
    """

    runs: Amount | None = None
    queued_runs: Amount | None = None
    executions: Amount | None = None
    gpus: Amount | None = None
    cpu: Quantity | None = None
    memory: Quantity | None = None
    storage: Quantity | None = None
    tokens: Amount | None = None
    cost_usd: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None


class Plan(_Strict):
    """What a tenant has paid for.

    Attributes:
        weight: Of the tenant's turns in the queue, beside those of others.
        quotas: What its tenants may have, where their own do not say otherwise.
        custom_locations: Whether its tenants may bring Python definitions in images of their own.
        nodes: Whether its pods share nodes with those of others, or have a node pool of their own.
        instance: Whether database, gateway, daemon and web server are shared with others, or the tenant's own: then its
            custom locations, which know the database's password, are nobody else's danger.
    """

    weight: Annotated[int, Field(ge=1, le=1_000)] = 1
    quotas: Quotas = Quotas()
    custom_locations: bool = False
    nodes: Literal["shared", "dedicated"] = "shared"
    instance: Literal["shared", "own"] = "shared"


class Location(_Strict):
    """A code location of a tenant.

    Attributes:
        kind: `managed` has components and bundles alone, `custom` the tenant's own Python, which is trusted with
            whatever runs of it are.
        image: What its code server and its runs are of; None is the platform's own, for managed ones.
        module: Python module that has the definitions; None is the platform's own, for managed ones.
        run: What the container of a run in which Dagster is gets; None is the chart's own.
        guest: What each guest server gets; None is the chart's own.
        gpu_types: Names of the kinds of GPUs that it may use.
    """

    kind: Literal["managed", "custom"] = "managed"
    image: Annotated[str, Field(min_length=1)] | None = None
    module: Annotated[str, Field(pattern=_MODULE)] | None = None
    run: Resources | None = None
    guest: Resources | None = None
    gpu_types: Sequence[str] = ()

    @model_validator(mode="after")
    def _custom_is_whole(self) -> Self:
        if self.kind == "custom" and (self.image is None or self.module is None):
            raise ValueError("a custom location needs `image` and `module`")
        if self.kind == "managed" and self.module is not None:
            raise ValueError(
                "a managed location has the platform's own module: say `kind: custom`, or leave it out"
            )
        return self


class Member(_Strict):
    """Somebody of a tenant.

    Attributes:
        role: What they may do in it; nobody becomes an operator so.
    """

    role: Role

    @model_validator(mode="after")
    def _no_operator(self) -> Self:
        if self.role is Role.OPERATOR:
            raise ValueError("a tenant has no operators: they come from the sign-in provider's claims")
        return self


class Tenant(_Strict):
    """A team.

    Attributes:
        organisation: Whose it is.
        plan: Name of its plan.
        suspended: Whether it may start nothing; what it has stays, and is seen.
        quotas: In place of its plan's, each by itself.
        locations: Its code locations by name; no two tenants have one of the same name.
        frameworks: That its agents may use; None means all.
        models: Aliases of the gateway that it may call; None means all.
        repositories: Where its images may come from, without tag.
        members: By the sign-in provider's subject or verified address.
    """

    organisation: TenantName
    plan: str
    suspended: bool = False
    quotas: Quotas = Quotas()
    locations: Mapping[LocationName, Location] = {}
    frameworks: Sequence[str] | None = None
    models: Sequence[str] | None = None
    repositories: Sequence[str] = ()
    members: Mapping[str, Member] = {}


class Organisation(_Strict):
    """Who has tenants.

    Attributes:
        title: What people call it.
    """

    title: str


class Tenancy(_Strict):
    """All of it; references are complete.

    Attributes:
        organisations: By name.
        plans: By name; `free`, `team` and `enterprise` are there where nobody says otherwise.
        tenants: By name.
    """

    organisations: Mapping[TenantName, Organisation] = {}
    plans: Mapping[str, Plan] = {}
    tenants: Mapping[TenantName, Tenant] = {}

    @model_validator(mode="after")
    def _complete(self) -> Self:
        owners = dict[str, str]()
        for name, tenant in self.tenants.items():
            if tenant.organisation not in self.organisations:
                raise ValueError(f"tenants.{name}.organisation: there is no {tenant.organisation!r}")
            plan = self.plans.get(tenant.plan)
            if plan is None:
                there = ", ".join(sorted(self.plans)) or "none"
                raise ValueError(f"tenants.{name}.plan: there is no {tenant.plan!r}; there are {there}")
            for location, how in tenant.locations.items():
                other = owners.setdefault(location, name)
                if other != name:
                    raise ValueError(f"tenants.{name}.locations.{location}: {other!r} has one of this name")
                if how.kind == "custom" and not plan.custom_locations:
                    raise ValueError(
                        f"tenants.{name}.locations.{location}: the plan {tenant.plan!r} has no custom locations"
                    )
        return self

    def owner(self, location: str) -> str | None:
        """Return the tenant that has a code location; None when nobody has."""
        return next((name for name, tenant in self.tenants.items() if location in tenant.locations), None)

    def quotas(self, tenant: str) -> Quotas:
        """Return what a tenant may have: its plan's, and its own in their place.

        Raises:
            KeyError: There is no such tenant.
        """
        own = self.tenants[tenant]
        return self.plans[own.plan].quotas.model_copy(update=own.quotas.model_dump(exclude_none=True))


class TenantDirectory(Protocol):
    """Where everything that knows of tenants reads them; cheap enough to ask for each request."""

    def tenancy(self) -> Tenancy:
        """Return what holds now."""
        ...


def read_tenancy(written: Any) -> Tenancy:
    """Return what stands in a file.

    Raises:
        BadTenancy: It is none, or names what is not there.
    """
    try:
        return Tenancy.model_validate(written)
    except ValidationError as error:
        raise BadTenancy(first_fault(error)) from error


def first_fault(error: ValidationError) -> str:
    """Return the first thing that is wrong with what was written, and where, in a line."""
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    told = first["msg"].removeprefix("Value error, ")
    return f"{where}: {told}" if where else told
