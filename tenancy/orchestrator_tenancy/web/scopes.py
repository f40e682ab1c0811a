"""Whose things a request may touch."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from dagster import AssetCheckKey, AssetKey

from orchestrator_tenancy.names import owns_key, owns_name

ABSENT: Final = "-"
"""What stands in place of a name or id that is not the tenant's: nothing has it, so the answer is that for nothing.

No location, pool or partitions definition may be named so, and no run or backfill gets such an id.
"""

ABSENT_KEY: Final = AssetKey([ABSENT])


class NotForTenants(Exception):
    """Something was asked of the shared instance that this server does not do for one tenant."""


@dataclass(frozen=True, kw_only=True)
class Scope:
    """Whose things.

    Attributes:
        tenant: Name.
        locations: Names of its code locations; they say whose a run, schedule, sensor or backfill of a job is.
            Everything else is told by its name.
    """

    tenant: str
    locations: frozenset[str]

    def owns_location(self, name: object) -> bool:
        """Return whether a code location is the tenant's."""
        return name in self.locations

    def owns_name(self, name: str) -> bool:
        """Return whether a pool, concurrency key or dynamic partitions definition is the tenant's."""
        return owns_name(self.tenant, name)

    def owns_key(self, key: AssetKey) -> bool:
        """Return whether an asset is the tenant's."""
        return owns_key(self.tenant, key.path)

    def owns_entity(self, key: object) -> bool:
        """Return whether an asset, a check or a job that automation looks at is the tenant's."""
        if isinstance(key, AssetCheckKey):
            return self.owns_key(key.asset_key)
        if isinstance(key, AssetKey):
            return self.owns_key(key)
        job = getattr(key, "job_name", None)
        return isinstance(job, str) and self.owns_name(job)

    def own_keys(self, keys: Iterable[AssetKey]) -> list[AssetKey]:
        """Return the tenant's of some assets, in their order."""
        return [key for key in keys if self.owns_key(key)]
