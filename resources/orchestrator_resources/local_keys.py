"""The key that seals marked fields on a machine that has no tenants: made when it is first needed, and this user's."""

import contextlib
import os
import secrets
import tempfile
from pathlib import Path
from typing import Final

from orchestrator_gateway.tenant_keys import KEY_BYTES, TenantKey, written_keys

OWNER: Final = "local"
_FILE: Final = "local.json"


def local_keys(home: Path) -> Path | None:
    """Return the file of the key; None where none was needed yet."""
    file = home / "keys" / _FILE
    return file if file.exists() else None


def local_keys_file(home: Path) -> Path:
    """Return the file of the key, below the home folder; nobody else may read it, and it is made where it is missing.

    Raises:
        OSError: It cannot be made.
    """
    if found := local_keys(home):
        return found
    file = home / "keys" / _FILE
    folder = file.parent
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    key = TenantKey(tenant=OWNER, versions={1: secrets.token_bytes(KEY_BYTES)})
    number, name = tempfile.mkstemp(dir=folder)  # of mode 600
    try:
        with os.fdopen(number, "w") as written:
            written.write(written_keys({OWNER: key}))
            written.flush()
            os.fsync(number)
        # of processes that make it at once, one is first, and all use that one's
        with contextlib.suppress(FileExistsError):
            os.link(name, file)
    finally:
        os.unlink(name)
    return file
