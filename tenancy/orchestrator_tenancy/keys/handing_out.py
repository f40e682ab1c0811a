"""Files with keys of tenants, for gateways and for runs."""

import os
import secrets
from collections.abc import Iterable
from pathlib import Path

from orchestrator_gateway.tenant_keys import TenantKey, written_keys
from orchestrator_runtimes.errors import AgentError, ErrorCode
from orchestrator_tenancy.keys.tenant_key_store import TenantKeys


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


def replace_private_file(file: Path, content: bytes) -> None:
    """Put a file in the place of another, in one step, for its owner alone.

    Raises:
        AgentError: `invalid_input` when it cannot be written.
    """
    fresh = file.with_name(f".{file.name}.{secrets.token_hex(4)}")
    try:
        try:
            with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as opened:
                opened.write(content)
                opened.flush()
                os.fsync(opened.fileno())
            fresh.replace(file)
        finally:
            fresh.unlink(missing_ok=True)
    except OSError as error:
        raise AgentError(ErrorCode.INVALID_INPUT, f"{file}: cannot be written: {error.strerror}") from error
