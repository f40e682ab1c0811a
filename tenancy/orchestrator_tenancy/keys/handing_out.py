"""Files with keys of tenants, for gateways and for runs."""

from collections.abc import Iterable
from pathlib import Path

from orchestrator_gateway.tenant_keys import TenantKey, written_keys
from orchestrator_tenancy.keys.tenant_key_store import TenantKeys
from orchestrator_tenancy.private_files import replace_private_file


def keys_of(keys: TenantKeys, tenants: Iterable[str]) -> dict[str, TenantKey]:
    """Return the keys of tenants by their names; one that has none is given its first."""
    for tenant in (names := list(tenants)):
        keys.current(tenant)
    return {tenant: TenantKey(tenant=tenant, versions=keys.all(tenant)) for tenant in names}


def write_key_file(file: Path, keys: TenantKeys, tenants: Iterable[str]) -> int:
    """Write the keys of tenants into a file that nobody else may read; one that has none is given its first.

    The file is there whole or as it was before: processes that read it meet no half.

    Returns:
        How many tenants there are in it.

    Raises:
        AgentError: `invalid_input` when it cannot be written.
    """
    found = keys_of(keys, tenants)
    replace_private_file(file, written_keys(found).encode())
    return len(found)
