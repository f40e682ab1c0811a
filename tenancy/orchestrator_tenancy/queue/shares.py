"""What each flow of runs may have: a flow is a tenant, or a code location that no tenant has."""

import functools
from collections.abc import Mapping
from dataclasses import dataclass

from orchestrator_tenancy.tenants import Tenancy


@dataclass(frozen=True, kw_only=True)
class Share:
    """What a flow may have; None sets no limit.

    Attributes:
        title: What people call it.
        weight: Of its turns, beside those of other flows.
        suspended: Whether it may start nothing.
        runs: Runs that are starting or started.
        queued_runs: Runs that wait.
        gpus: GPUs of all its runs.
    """

    title: str
    weight: int = 1
    suspended: bool = False
    runs: int | None = None
    queued_runs: int | None = None
    gpus: int | None = None


class Shares:
    """What every flow may have, by what holds of tenants now.

    Args:
        tenancy: Of all tenants.
    """

    def __init__(self, tenancy: Tenancy) -> None:
        """Index it."""
        self._tenancy = tenancy
        self._owners: Mapping[str, str] = {
            location: name for name, tenant in tenancy.tenants.items() for location in tenant.locations
        }
        self.share = functools.cache(self._share)

    def flow(self, location: str | None) -> str:
        """Return the flow of a code location's runs; no tenant has a space in its name."""
        owner = None if location is None else self._owners.get(location)
        if owner is not None:
            return owner
        return "no location" if location is None else f"location {location}"

    def locations(self, flow: str, location: str | None) -> list[str]:
        """Return all code locations of a flow, of which one is given; empty for runs that have none."""
        tenant = self._tenancy.tenants.get(flow)
        if tenant is not None:
            return sorted(tenant.locations)
        return [] if location is None else [location]

    def _share(self, flow: str) -> Share:
        tenant = self._tenancy.tenants.get(flow)
        if tenant is None:
            return Share(title=f"the {flow}" if " " in flow else flow)
        quotas = self._tenancy.quotas(flow)
        return Share(
            title=f"the tenant {flow!r}",
            weight=self._tenancy.plans[tenant.plan].weight,
            suspended=tenant.suspended,
            runs=quotas.runs,
            queued_runs=quotas.queued_runs,
            gpus=quotas.gpus,
        )
