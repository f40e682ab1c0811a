"""The keys of tenants in the control plane's database, each wrapped by the operator's master secret.

Envelope encryption: data is sealed by a key of its tenant, and that key by the master secret. So the secret is replaced
without touching data, and what a tenant's keys sealed can never be read again once they are gone.
"""

import contextlib
import hmac
import secrets
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from orchestrator_gateway.sealing import NotOpened, as_text, of_text, seal, unseal
from orchestrator_gateway.tenant_keys import KEY_BYTES, TenantKey
from orchestrator_resources.state_databases import StateDatabase, Transaction
from orchestrator_runtimes.errors import AgentError, ErrorCode
from orchestrator_tenancy.control_databases import control_database
from orchestrator_tenancy.keys.master_secrets import MASTER

FILE: Final = "keys.db"
"""Of the control plane, where it is in files."""

_HOLDS: Final = "keys of tenants"
_TABLES: Final = (
    "CREATE TABLE IF NOT EXISTS tenant_keys ("
    " tenant TEXT NOT NULL, version INTEGER NOT NULL, wrapped TEXT NOT NULL, made DOUBLE PRECISION NOT NULL,"
    " PRIMARY KEY (tenant, version))",
)
_WRAPPED_BY: Final = "operator"


@dataclass(frozen=True, kw_only=True)
class KeyVersion:
    """A version of a tenant's key, without the key.

    Attributes:
        tenant: Whose.
        version: From 1.
        made: Unix time in seconds.
    """

    tenant: str
    version: int
    made: float


class TenantKeys:
    """Keys in a database that any number of processes share.

    Args:
        database: Where they are.
        secrets: The master secret, which wraps, and those before it, which unwrap only.
        now: Clock, in Unix seconds.

    Raises:
        AgentError: `state_unavailable`, from every method, when the database does not answer; `invalid_input` when a
            key is wrapped by none of the secrets.
    """

    def __init__(
        self, database: StateDatabase, secrets: Sequence[str], now: Callable[[], float] = time.time
    ) -> None:
        """Prepare the table."""
        self._database, self._now = database, now
        self._wrapping = [
            TenantKey(
                tenant=_WRAPPED_BY, versions={1: hmac.digest(secret.encode(), b"wrap tenant keys", "sha256")}
            )
            for secret in secrets
        ]
        database.prepare(_HOLDS, _TABLES)

    def current(self, tenant: str) -> TenantKey:
        """Return the version that seals, alone; a tenant without a key is given its first."""
        key = self.all(tenant)
        if not key:
            with self._database.transaction(_HOLDS, alone=True) as database:
                key = self._read(database, tenant) or self._add(database, tenant, 1)
        newest = max(key)
        return TenantKey(tenant=tenant, versions={newest: key[newest]})

    def all(self, tenant: str) -> Mapping[int, bytes]:
        """Return the keys of a tenant by version; empty when it has none, or they were shredded."""
        with self._database.transaction(_HOLDS) as database:
            return self._read(database, tenant)

    def rotate(self, tenant: str) -> int:
        """Make a version, which seals from now on, and return it; those before it still open."""
        with self._database.transaction(_HOLDS, alone=True) as database:
            there = [one.version for one in _versions(database, tenant)]
            (version,) = self._add(database, tenant, max(there, default=0) + 1)
        return version

    def rewrap(self) -> int:
        """Wrap every key by the present secret, so that the former one can be thrown away.

        Returns:
            How many were wrapped by a former one.
        """
        with self._database.transaction(_HOLDS, alone=True) as database:
            rows = database.execute("SELECT tenant, version, wrapped FROM tenant_keys").fetchall()
            former = [row for row in rows if self._unwrapped(*row)[1] > 0]
            database.executemany(
                "UPDATE tenant_keys SET wrapped = ? WHERE tenant = ? AND version = ?",
                [
                    (
                        self._wrapped(tenant, version, self._unwrapped(tenant, version, wrapped)[0]),
                        tenant,
                        version,
                    )
                    for tenant, version, wrapped in former
                ],
            )
        return len(former)

    def shred(self, tenant: str) -> int:
        """Delete all keys of a tenant, so that nobody can read any more what they sealed; again changes nothing.

        Returns:
            How many versions there were.
        """
        with self._database.transaction(_HOLDS, alone=True) as database:
            # a deleted row may stay in its page until another takes its place
            database.execute(
                "UPDATE tenant_keys SET wrapped = substr(CAST(? AS TEXT), 1, length(wrapped)) WHERE tenant = ?",
                ("x" * 1_000, tenant),
            )
            return database.execute("DELETE FROM tenant_keys WHERE tenant = ?", (tenant,)).rowcount

    def list(self, tenant: str | None = None) -> Sequence[KeyVersion]:
        """Return the versions that there are: of a tenant, or of all for None; in order."""
        with self._database.transaction(_HOLDS) as database:
            return _versions(database, tenant)

    def _add(self, database: Transaction, tenant: str, version: int) -> Mapping[int, bytes]:
        key = secrets.token_bytes(KEY_BYTES)
        database.execute(
            "INSERT INTO tenant_keys (tenant, version, wrapped, made) VALUES (?, ?, ?, ?)",
            (tenant, version, self._wrapped(tenant, version, key), self._now()),
        )
        return {version: key}

    def _read(self, database: Transaction, tenant: str) -> Mapping[int, bytes]:
        rows = database.execute(
            "SELECT tenant, version, wrapped FROM tenant_keys WHERE tenant = ? ORDER BY version", (tenant,)
        ).fetchall()
        return {row[1]: self._unwrapped(*row)[0] for row in rows}

    def _wrapped(self, tenant: str, version: int, key: bytes) -> str:
        return as_text(seal(self._wrapping[0], (tenant, version), key))

    def _unwrapped(self, tenant: str, version: int, wrapped: str) -> tuple[bytes, int]:
        """Return a key, and the number of the secret that wrapped it: 0 for the present one."""
        for number, wrapping in enumerate(self._wrapping):
            with contextlib.suppress(NotOpened):
                return unseal(wrapping, (tenant, version), of_text(wrapped)), number
        raise AgentError(
            ErrorCode.INVALID_INPUT,
            f"version {version} of the key of {tenant!r:.80} was not wrapped by {MASTER}, nor by the former one",
        )


@contextlib.contextmanager
def open_tenant_keys(secrets: Sequence[str]) -> Generator[TenantKeys]:
    """Open the keys of this platform for a while.

    Args:
        secrets: See `TenantKeys`; to list and to shred none is needed.

    Raises:
        AgentError: `invalid_input` when it is not said where they are.
    """
    with control_database(FILE) as database:
        yield TenantKeys(database, secrets)


def _versions(database: Transaction, tenant: str | None) -> Sequence[KeyVersion]:
    where, values = ("TRUE", ()) if tenant is None else ("tenant = ?", (tenant,))
    rows: Sequence[tuple[Any, ...]] = database.execute(
        f"SELECT tenant, version, made FROM tenant_keys WHERE {where} ORDER BY tenant, version", values
    ).fetchall()
    return [KeyVersion(tenant=name, version=version, made=made) for name, version, made in rows]
