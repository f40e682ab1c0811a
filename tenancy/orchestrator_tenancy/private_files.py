"""Files for their owner alone, which are there whole or as they were before."""

import os
import secrets
from pathlib import Path

from orchestrator_runtimes.errors import AgentError, ErrorCode


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
