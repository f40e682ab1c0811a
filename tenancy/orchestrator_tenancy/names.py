"""Names of a tenant's things: whose a name is can be read off it, without asking who wrote it.

Two kinds: an asset key is a path, whose first component is the tenant's name (`acme-labs/raw/orders`); the name
of anything else (job, schedule, sensor, pool, concurrency key, set of dynamic partitions) begins with the tenant's name
and two underscores (`acme_labs__orders`), since Dagster takes but letters, digits and underscores in most of them.

Laws, for all tenants `a` and `b`, and everything that Dagster takes as a name:

- what `own_key` and `own_name` return is the tenant's, whatever they are given that may be a name at all;
- they leave as it is what is the tenant's already, so that doing it twice is doing it once;
- what is `a`'s is never `b`'s, unless they are one.

Tenant names are DNS labels without `--` (`tenants.TENANT_NAME`), so `-` becomes `_` without two tenants becoming one,
and the first `__` of a name ends its tenant. Values are stored below folders that are called as the components of their
keys and partitions are, so that none of these may lead out of its folder: a key with such a component is nobody's.
"""

from collections.abc import Sequence
from typing import Final

SEPARATOR: Final = "__"


class BadName(ValueError):
    """What was written is no name; the text says why."""


def stays_inside(path: Sequence[str]) -> bool:
    """Return whether folders called like these components lie in each other, each in the one before."""
    return all(part not in ("", ".", "..") and "/" not in part and "\0" not in part for part in path)


def name_prefix(tenant: str) -> str:
    """Return how the names of a tenant's jobs, schedules, sensors, pools and dynamic partitions begin."""
    return f"{tenant.replace('-', '_')}{SEPARATOR}"


def owns_name(tenant: str, name: str) -> bool:
    """Return whether a job, schedule, sensor, pool, concurrency key or set of dynamic partitions is a tenant's."""
    prefix = name_prefix(tenant)
    return name.startswith(prefix) and len(name) > len(prefix)


def owns_key(tenant: str, path: Sequence[str]) -> bool:
    """Return whether an asset key, by its components, is a tenant's."""
    return len(path) > 1 and path[0] == tenant and stays_inside(path)


def own_name(tenant: str, name: str) -> str:
    """Return a name with the tenant's prefix, once.

    Args:
        tenant: Whose it is.
        name: What its author calls it; not empty.
    """
    return name if owns_name(tenant, name) else f"{name_prefix(tenant)}{name}"


def own_key(tenant: str, path: Sequence[str]) -> tuple[str, ...]:
    """Return the components of an asset key below the tenant's, once.

    Args:
        tenant: Whose it is.
        path: What its author calls it, in components; not empty.

    Raises:
        BadName: A component would lead out of its folder.
    """
    if not stays_inside(path):
        raise BadName(
            f"{'/'.join(path)[:200]!r} is no asset key: components are not empty, and neither . nor .."
        )
    return tuple(path) if owns_key(tenant, path) else (tenant, *path)
