"""The operator's master secret: wraps the keys of tenants, and stands nowhere in a database."""

from typing import Final

from orchestrator_resources.secret_variables import secret_of
from orchestrator_runtimes.errors import AgentError, ErrorCode

MASTER: Final = "ORCHESTRATOR_MASTER_SECRET"
"""Variable with the secret, or with `_FILE` of a file that holds it."""

FORMER: Final = "ORCHESTRATOR_FORMER_MASTER_SECRET"
"""The same for the one before it, until `rewrap` has been done."""

SECRET_CHARACTERS: Final = 32
"""A shorter secret could be guessed by whoever has a wrapped key."""


def master_secrets() -> tuple[str, ...]:
    """Return the present secret, and then the former one where there is one.

    Raises:
        AgentError: `invalid_input` when there is none, or one is too short.
    """
    present = secret_of(MASTER)
    if not present:
        raise AgentError(
            ErrorCode.INVALID_INPUT,
            f"set {MASTER}_FILE to a file with the secret that wraps the keys of tenants; use `openssl rand -hex 32`",
        )
    secrets = {MASTER: present, FORMER: secret_of(FORMER)}
    for name, secret in secrets.items():
        if secret and len(secret) < SECRET_CHARACTERS:
            raise AgentError(
                ErrorCode.INVALID_INPUT,
                f"{name}: has {len(secret)} characters, fewer than {SECRET_CHARACTERS}; use `openssl rand -hex 32`",
            )
    return tuple(secret for secret in secrets.values() if secret)
