"""Files with keys of tenants, for gateways and for runs."""

from collections.abc import Iterable
from pathlib import Path

from orchestrator_gateway.tenant_keys import TenantKey, written_keys
from orchestrator_tenancy.keys.tenant_key_store import TenantKeys
from orchestrator_tenancy.private_files import replace_private_file


def write_key_file(file: Path, keys: TenantKeys, tenants: Iterable[str]) -> int:
    """Write the keys of tenants into a file that nobody else may read; one that has none is given its first.

    The file is there whole or as it was before: processes that read it meet no half.

    Returns:
        How many tenants there are in it.

    Raises:
        AgentError: `invalid_input` when it cannot be written.
    """
    found = dict[str, TenantKey]()
    for tenant in tenants:
        keys.current(tenant)
        found[tenant] = TenantKey(tenant=tenant, versions=keys.all(tenant))
    replace_private_file(file, written_keys(found).encode())
    return len(found)
