"""API tokens: for programs such as CI, each of one tenant and one role, until a day that is known."""

import re
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from orchestrator_resources.state_databases import StateDatabase, Transaction
from orchestrator_runtimes.errors import AgentError, ErrorCode
from orchestrator_tenancy.identities import Role
from orchestrator_tenancy.sign_in.sealing import fingerprint
from orchestrator_tenancy.tenants import TENANT_NAME

_HOLDS: Final = "API tokens"
_TABLES: Final = (
    "CREATE TABLE IF NOT EXISTS api_tokens ("
    " id TEXT PRIMARY KEY, secret TEXT NOT NULL, name TEXT NOT NULL, tenant TEXT NOT NULL, role TEXT NOT NULL,"
    " made DOUBLE PRECISION NOT NULL, expires DOUBLE PRECISION NOT NULL, used DOUBLE PRECISION,"
    " revoked DOUBLE PRECISION)",
    "CREATE INDEX IF NOT EXISTS api_tokens_of_tenant ON api_tokens (tenant, made)",
)
_COLUMNS: Final = "id, name, tenant, role, made, expires, used, revoked"
_FORM: Final = re.compile(r"orchestrator_([0-9a-f]{16})_([A-Za-z0-9_-]{43})")
_NAME: Final = re.compile(r"[^\s\x00-\x1f\x7f](?:[^\x00-\x1f\x7f]{0,98}[^\s\x00-\x1f\x7f])?")
_TOUCH_SECONDS: Final = 60.0

LONGEST_DAYS: Final = 366
OF_A_TENANT: Final = 1_000
"""Most that hold at once."""

_KEPT_SECONDS: Final = 90 * 86400.0
"""How long one that ended is listed."""


@dataclass(frozen=True, kw_only=True)
class ApiToken:
    """A token, without its secret, which nobody can read again.

    Attributes:
        id: Names it; no secret.
        name: What people call it.
        tenant: Whose objects it sees.
        role: What it may do.
        made: Unix time in seconds.
        expires: Unix time in seconds after which it is none.
        used: Of the last use, to a minute; None before the first.
        revoked: When it was taken back; None when it was not.
    """

    id: str
    name: str
    tenant: str
    role: Role
    made: float
    expires: float
    used: float | None
    revoked: float | None


class ApiTokens:
    """Tokens in a database that all servers share.

    Args:
        database: Where they are.
        now: Clock, in Unix seconds.

    Raises:
        AgentError: `state_unavailable`, from every method, when the database does not answer.
    """

    def __init__(self, database: StateDatabase, now: Callable[[], float] = time.time) -> None:
        self._database, self._now = database, now
        database.prepare(_HOLDS, _TABLES)

    def create(self, *, name: str, tenant: str, role: Role, days: float) -> tuple[ApiToken, str]:
        """Return a new token and the text that a program sends, which is told this once.

        Args:
            name: What people call it: what it is for.
            tenant: Whose objects it sees.
            role: What it may do; not everything.
            days: How long it holds.

        Raises:
            AgentError: `invalid_input` when one of these makes no sense, or the tenant has too many.
        """
        if _NAME.fullmatch(name) is None:
            raise _invalid("a token's name has 1 to 100 characters, in one line")
        if re.fullmatch(TENANT_NAME, tenant) is None:
            raise _invalid(f"{tenant!r:.80} is no name of a tenant")
        if role is Role.OPERATOR:
            raise _invalid(
                "a token is of one tenant, and an operator of none: sign in, or use the command line"
            )
        if not 0 < days <= LONGEST_DAYS:
            raise _invalid(f"a token holds for more than 0 and at most {LONGEST_DAYS} days")
        now, secret = self._now(), secrets.token_urlsafe(32)
        token = ApiToken(
            id=secrets.token_hex(8),
            name=name,
            tenant=tenant,
            role=role,
            made=now,
            expires=now + days * 86400,
            used=None,
            revoked=None,
        )
        with self._database.transaction(_HOLDS, alone=True) as database:
            database.execute("DELETE FROM api_tokens WHERE expires < ?", (now - _KEPT_SECONDS,))
            held = database.execute(
                "SELECT count(*) FROM api_tokens WHERE tenant = ? AND revoked IS NULL AND expires > ?",
                (tenant, now),
            ).fetchone()
            if held[0] >= OF_A_TENANT:
                raise _invalid(f"{tenant!r} has {OF_A_TENANT} tokens, and may not have more: revoke some")
            database.execute(
                "INSERT INTO api_tokens (id, secret, name, tenant, role, made, expires) VALUES (?,?,?,?,?,?,?)",
                (token.id, fingerprint(secret), name, tenant, role.value, now, token.expires),
            )
        return token, f"orchestrator_{token.id}_{secret}"

    def find(self, text: str) -> ApiToken | None:
        """Return the token of what a program sent; None when it is none, or none any more."""
        formed = _FORM.fullmatch(text)
        if formed is None:
            return None
        now = self._now()
        with self._database.transaction(_HOLDS) as database:
            found = self._read(
                database,
                "id = ? AND secret = ? AND revoked IS NULL AND expires > ?",
                formed[1],
                fingerprint(formed[2]),
                now,
            )
            if found and now - (found[0].used or 0) > _TOUCH_SECONDS:
                database.execute("UPDATE api_tokens SET used = ? WHERE id = ?", (now, formed[1]))
        return found[0] if found else None

    def list(self, tenant: str | None = None) -> Sequence[ApiToken]:
        """Return tokens, the oldest first, with those that ended a while ago.

        Args:
            tenant: Whose; None means those of all.
        """
        with self._database.transaction(_HOLDS) as database:
            if tenant is None:
                return self._read(database, "TRUE")
            return self._read(database, "tenant = ?", tenant)

    def revoke(self, token: str, tenant: str | None = None) -> ApiToken:
        """Take a token back; again changes nothing.

        Args:
            token: Its id.
            tenant: Whose it must be; None takes that of any.

        Raises:
            AgentError: `invalid_input` when there is none.
        """
        with self._database.transaction(_HOLDS, alone=True) as database:
            found = self._read(database, "id = ?", token)
            if not found or tenant not in (None, found[0].tenant):
                raise _invalid(f"there is no token {token!r:.80}; see `orchestrator tokens list`")
            if found[0].revoked is None:
                database.execute("UPDATE api_tokens SET revoked = ? WHERE id = ?", (self._now(), token))
            return self._read(database, "id = ?", token)[0]

    def _read(self, database: Transaction, where: str, *values: object) -> Sequence[ApiToken]:
        rows = database.execute(f"SELECT {_COLUMNS} FROM api_tokens WHERE {where} ORDER BY made, id", values)
        return [_token(row) for row in rows.fetchall()]


def _token(row: tuple[Any, ...]) -> ApiToken:
    name, called, tenant, role, made, expires, used, revoked = row
    return ApiToken(
        id=name,
        name=called,
        tenant=tenant,
        role=Role(role),
        made=made,
        expires=expires,
        used=used,
        revoked=revoked,
    )


def _invalid(text: str) -> AgentError:
    return AgentError(ErrorCode.INVALID_INPUT, text)
