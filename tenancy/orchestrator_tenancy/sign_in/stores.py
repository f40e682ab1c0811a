"""What a sign-in keeps in the control plane's database."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from orchestrator_resources.state_databases import StateDatabase
from orchestrator_tenancy.audit.audit_log import AuditLog
from orchestrator_tenancy.sign_in.api_tokens import ApiTokens
from orchestrator_tenancy.sign_in.sealing import Sealer, mark_key
from orchestrator_tenancy.sign_in.sessions import Sessions
from orchestrator_tenancy.sign_in.settings import Secrets, SignInSettings

FILE: Final = "sign_in.db"
"""Of the control plane, where it is in files."""


@dataclass(frozen=True, kw_only=True)
class Stores:
    """What is kept in the database.

    Attributes:
        sessions: Of people.
        tokens: Of programs.
        audit: What was decided.
    """

    sessions: Sessions
    tokens: ApiTokens
    audit: AuditLog


def open_stores(
    database: StateDatabase,
    settings: SignInSettings,
    secrets: Secrets,
    now: Callable[[], float] = time.time,
) -> Stores:
    """Prepare a database.

    Args:
        database: Of the control plane.
        settings: Of the sign-in.
        secrets: Of the platform.
        now: Clock, in Unix seconds.

    Raises:
        AgentError: `state_unavailable` when it does not answer.
    """
    return Stores(
        sessions=Sessions(database, Sealer(secrets.sealing, "person"), settings.sessions, now),
        tokens=ApiTokens(database, now),
        audit=AuditLog(database, [mark_key(secret, "audit") for secret in secrets.sealing], now),
    )
