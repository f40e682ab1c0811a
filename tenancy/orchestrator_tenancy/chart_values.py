"""What the Helm chart makes for tenants, as its values: pure functions of what an operator wrote.

The chart stays the only place that knows namespaces, quotas, policies and accounts; here is only which values it gets.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from orchestrator_tenancy.tenants import BadTenancy, Location, Quotas, Tenancy, Tenant

POOL_LABEL: Final = "orchestrator/tenant"
"""Label, and taint, of the nodes of a tenant with a node pool of its own."""

_GPU: Final = "nvidia.com/gpu"
_SERVERS: Final = 2
"""Pods of a code server while it is replaced."""

Values = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class ManagedLocations:
    """What managed locations run, unless they say otherwise.

    Attributes:
        image: Of the trusted side, with components in it or beside it.
        module: Python module that loads them.
        images: Image of each runtime, by the name of its framework.
    """

    image: str
    module: str = "orchestrator_tenancy.managed_definitions"
    images: Mapping[str, str] = field(default_factory=dict[str, str])


def chart_values(
    tenancy: Tenancy, base: Mapping[str, Any], managed: ManagedLocations, *, only: str | None = None
) -> Values:
    """Return the values of one release.

    Args:
        tenancy: All of it.
        base: The operator's own values; what they say of `tenants` and `locations` stays, under other names.
        managed: What managed locations run.
        only: The tenant of a release of its own; None for the release that the others share.

    Raises:
        BadTenancy: There is no such tenant, it has no release of its own, `base` has one of the same name, or a tenant
            is allowed what is not there.
    """
    chosen = _chosen(tenancy, only)
    values: Values = {**base}
    values["tenants"] = _joined("tenants", base, {name: _tenant(tenancy, name) for name in chosen})
    values["locations"] = _joined(
        "locations",
        base,
        {
            location: _location(tenancy, name, how, managed)
            for name, tenant in chosen.items()
            for location, how in tenant.locations.items()
        },
    )
    budgets = [budget for name in chosen for budget in _budgets(name, tenancy.quotas(name))]
    gateway = {**base.get("gateway", {})}
    configuration = {**gateway.get("configuration", {})}
    configuration["budgets"] = [*configuration.get("budgets", ()), *budgets]
    allowed = {
        name: _allowed(name, tenant, tenancy.quotas(name), configuration) for name, tenant in chosen.items()
    }
    configuration["tenants"] = _joined(
        "tenants", configuration, {name: one for name, one in allowed.items() if one}
    )
    values["gateway"] = {**gateway, "configuration": configuration}
    return values


def own_releases(tenancy: Tenancy) -> list[str]:
    """Return the tenants that have a release of their own, in order."""
    return sorted(name for name, tenant in tenancy.tenants.items() if _owns(tenancy, tenant))


def _chosen(tenancy: Tenancy, only: str | None) -> dict[str, Tenant]:
    if only is None:
        found = {name: one for name, one in tenancy.tenants.items() if not _owns(tenancy, one)}
        return dict(sorted(found.items()))
    if only not in tenancy.tenants:
        raise BadTenancy(
            f"there is no tenant {only!r}; there are {', '.join(sorted(tenancy.tenants)) or 'none'}"
        )
    if not _owns(tenancy, tenancy.tenants[only]):
        raise BadTenancy(
            f"the plan of {only!r} has `instance: shared`: it is a part of the release of all others"
        )
    return {only: tenancy.tenants[only]}


def _owns(tenancy: Tenancy, tenant: Tenant) -> bool:
    return tenancy.plans[tenant.plan].instance == "own"


def _joined(what: str, base: Mapping[str, Any], ours: Values) -> Values:
    theirs: Mapping[str, Any] = base.get(what) or {}
    twice = sorted(theirs.keys() & ours.keys())
    if twice:
        raise BadTenancy(
            f"{what}.{twice[0]} stands in the values, and is a tenant's: take it out of one of them"
        )
    return {**theirs, **ours}


def _tenant(tenancy: Tenancy, name: str) -> Values:
    quotas, servers = tenancy.quotas(name), len(tenancy.tenants[name].locations) * _SERVERS
    limits: Values = {
        "pods": None if quotas.runs is None else quotas.runs + servers,
        "cpu": quotas.cpu,
        "memory": quotas.memory,
        "storage": quotas.storage,
    }
    quota = {key: value for key, value in limits.items() if value is not None or key == "pods"}
    if quotas.gpus is not None:
        quota["gpus"] = {_GPU: quotas.gpus}
    return {"quota": quota}


def _location(tenancy: Tenancy, name: str, how: Location, managed: ManagedLocations) -> Values:
    tenant = tenancy.tenants[name]
    quotas = tenancy.quotas(name)
    frameworks = managed.images.keys() if tenant.frameworks is None else set(tenant.frameworks)
    made: Values = {
        "tenant": name,
        "image": how.image or managed.image,
        "module": how.module or managed.module,
        "images": {one: image for one, image in sorted(managed.images.items()) if one in frameworks},
    }
    if how.kind == "custom" and tenant.repositories:
        made["repositories"] = list(tenant.repositories)
    if how.gpu_types:
        made |= {"gpuTypes": list(how.gpu_types), "maxGpus": 1_000 if quotas.gpus is None else quotas.gpus}
    for part in ("run", "guest"):
        resources = getattr(how, part)
        if resources is not None:
            made[part] = resources.model_dump(mode="json")
    if tenancy.plans[tenant.plan].nodes == "dedicated":
        made["nodeSelector"] = {POOL_LABEL: name}
        made["tolerations"] = [{"key": POOL_LABEL, "operator": "Equal", "value": name}]
    return made


def _allowed(name: str, tenant: Tenant, quotas: Quotas, configuration: Mapping[str, Any]) -> Values:
    """Return what a tenant may use of the gateway; empty where that is all."""
    executions: Values = {} if quotas.executions is None else {"executions": quotas.executions}
    if tenant.models is None:
        return executions
    there: Mapping[str, Any] = configuration.get("models") or {}
    missing = sorted(set(tenant.models) - there.keys())
    if missing and configuration.get("default") is None:
        raise BadTenancy(
            f"tenants.{name}.models: the gateway has no model {missing[0]!r}; it has"
            f" {', '.join(sorted(there)) or 'none'}"
        )
    return {"models": list(tenant.models), **executions}


def _budgets(name: str, quotas: Quotas) -> list[Values]:
    bounds: Values = {"tokens": quotas.tokens, "cost_usd": quotas.cost_usd}
    held = {key: value for key, value in bounds.items() if value is not None}
    return [{"scope": "tenant", "name": name, "per": "month", **held}] if held else []
