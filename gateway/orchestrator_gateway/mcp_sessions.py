"""Sessions of MCP servers as guests see them: bound to the execution that began them.

All guests reach a server with the gateway's key, so a session's id is all that tells theirs apart. A guest gets the id
with a signature over its execution; with another execution's token it opens nothing. The gateway remembers no session.
"""

import hashlib
import hmac
from typing import Final

from orchestrator_gateway.tokens import Claims

HEADER: Final = "mcp-session-id"

_SIGNATURE_CHARACTERS: Final = 32
_LONGEST: Final = 2_000


def sealed(secret: bytes, claims: Claims, server: str, session: str) -> str | None:
    """Return the id that a guest gets for a server's session; None where the server's is none."""
    if not 0 < len(session) <= _LONGEST or not all("!" <= character <= "~" for character in session):
        return None
    return f"{_signature(secret, claims, server, session)}.{session}"


def opened(secret: bytes, claims: Claims, server: str, sent: str) -> str | None:
    """Return the server's id of a session; None where this execution has no such session."""
    signature, _, session = sent.partition(".")
    wanted = _signature(secret, claims, server, session)
    return session if hmac.compare_digest(signature.encode(), wanted.encode()) else None


def _signature(secret: bytes, claims: Claims, server: str, session: str) -> str:
    told = "\n".join(["mcp-session", claims.tenant, claims.execution, claims.attempt, server, session])
    return hmac.new(secret, told.encode(), hashlib.sha256).hexdigest()[:_SIGNATURE_CHARACTERS]
