"""Who asks for something: a person, or a program with a token, and what they may do."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

SCOPE_KEY: Final = "orchestrator.identity"
"""Where the sign-in leaves an `Identity` in the ASGI scope of a request or websocket, and nobody else does."""


class Role(StrEnum):
    """What somebody may do; each role may do all that those before it may."""

    VIEWER = "viewer"
    """See the tenant's locations, runs, assets and logs."""
    LAUNCHER = "launcher"
    """Launch, retry and end runs and backfills."""
    EDITOR = "editor"
    """Start and stop schedules and sensors, change partitions, wipe assets, reload locations, decide approvals."""
    TENANT_ADMIN = "tenant-admin"
    """Manage the tenant's users and tokens."""
    OPERATOR = "operator"
    """Everything, of every tenant."""

    def includes(self, other: "Role") -> bool:
        """Return whether this role may do what another may."""
        order = list(Role)
        return order.index(self) >= order.index(other)


@dataclass(frozen=True, kw_only=True)
class Identity:
    """Somebody who signed in, as of one tenant.

    Attributes:
        subject: Who, for ever: `user:ISSUER#SUBJECT` or `token:ID`.
        name: What people call them; shown, never compared.
        role: What they may do.
        tenant: Of which tenant they are now. None only for an operator, who then sees all.
        session: Of the sign-in, or of the token; what is revoked.

    Raises:
        ValueError: Somebody else than an operator has no tenant.
    """

    subject: str
    name: str
    role: Role
    tenant: str | None
    session: str

    def __post_init__(self) -> None:
        """Check that none but operators see all."""
        if self.tenant is None and self.role is not Role.OPERATOR:
            raise ValueError(f"{self.subject!r} has the role {self.role.value!r} and no tenant: name one")
