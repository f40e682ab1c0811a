"""Tokens and sessions as JSON, for people and programs that list them."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from orchestrator_tenancy.sign_in.api_tokens import ApiToken
from orchestrator_tenancy.sign_in.sessions import Session


def token_row(token: ApiToken) -> Mapping[str, Any]:
    """Return a token as JSON."""
    return {
        "token": token.id,
        "name": token.name,
        "tenant": token.tenant,
        "role": token.role.value,
        "made": moment(token.made),
        "expires": moment(token.expires),
        "used": moment(token.used),
        "revoked": moment(token.revoked),
    }


def session_row(session: Session) -> Mapping[str, Any]:
    """Return a session as JSON."""
    return {
        "session": session.id,
        "subject": session.person.identifier,
        "name": session.person.name,
        "tenant": session.tenant,
        "made": moment(session.made),
        "used": moment(session.used),
        "expires": moment(session.expires),
    }


def moment(seconds: float | None) -> str | None:
    """Return Unix time as text, to a second; None for None."""
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
