"""Files with keys of tenants, as an operator hands them out."""

import secrets
from pathlib import Path

from orchestrator_gateway.tenant_keys import KEY_BYTES, TenantKey, written_keys


def tenant_key(tenant: str, versions: int = 1) -> TenantKey:
    """Return a key that nobody else has."""
    return TenantKey(
        tenant=tenant, versions={n: secrets.token_bytes(KEY_BYTES) for n in range(1, versions + 1)}
    )


def write_keys(file: Path, *keys: TenantKey) -> Path:
    """Write a file, in one piece."""
    fresh = file.with_suffix(".new")
    fresh.write_text(written_keys({key.tenant: key for key in keys}))
    return fresh.replace(file)


def key_file(file: Path, *tenants: str) -> Path:
    """Write a file with new keys of tenants."""
    return write_keys(file, *(tenant_key(tenant) for tenant in tenants))
