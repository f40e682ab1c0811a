"""Secrets that a process is told by its environment: in a variable, or in a file that a variable names."""

import os
from pathlib import Path

from orchestrator_gateway.secret_sources import SecretMissing, SecretSource
from orchestrator_runtimes.errors import AgentError, ErrorCode


def secret_of(name: str) -> str | None:
    """Return what a variable holds, or the file that NAME_FILE names; None when neither is set.

    Raises:
        AgentError: `invalid_input` when the file cannot be read.
    """
    if value := os.environ.get(name):
        return value
    file = os.environ.get(f"{name}_FILE")
    if not file:
        return None
    try:
        return SecretSource(file=file).read(Path.cwd())
    except SecretMissing as error:
        raise AgentError(ErrorCode.INVALID_INPUT, f"{name}_FILE: {error}") from error
