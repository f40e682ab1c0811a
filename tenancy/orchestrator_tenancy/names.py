"""Names of a tenant's things: whose a name is can be read off it, without asking who wrote it.

Laws, for all tenants `a` and `b`:

- a name that is `a`'s is never `b`'s, whatever stands after the prefix;
- `owns_key(a, key)` looks at the first component alone, `owns_name(a, name)` at what stands before the first `__`.

Tenant names are DNS labels without `--` (`tenants.TENANT_NAME`), so `-` becomes `_` without two tenants becoming one,
and `__` cannot stand inside.
"""

from collections.abc import Sequence
from typing import Final

SEPARATOR: Final = "__"


def name_prefix(tenant: str) -> str:
    """Return how the names of a tenant's jobs, schedules, sensors, pools and dynamic partitions begin."""
    return f"{tenant.replace('-', '_')}{SEPARATOR}"


def owns_name(tenant: str, name: str) -> bool:
    """Return whether a schedule, sensor, pool, concurrency key or dynamic partitions definition is a tenant's."""
    return name.startswith(name_prefix(tenant))


def owns_key(tenant: str, path: Sequence[str]) -> bool:
    """Return whether an asset key, by its components, is a tenant's."""
    return bool(path) and path[0] == tenant
