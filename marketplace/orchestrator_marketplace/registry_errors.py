"""What may go wrong with a registry that is no bundle's fault."""

from orchestrator_runtimes.errors import AgentError, ErrorCode


class RegistryUnavailable(AgentError):
    """A registry does not answer, or not as it should; the same may work later."""

    def __init__(self, message: str, *, cause: str | None = None) -> None:
        """Say which one, and what it said."""
        super().__init__(ErrorCode.STATE_UNAVAILABLE, message, cause=cause)


class RegistryDenied(AgentError):
    """A registry refuses, or has not what is asked for; the same will not work later."""

    def __init__(self, message: str, *, cause: str | None = None) -> None:
        """Say what was asked, and what to change."""
        super().__init__(ErrorCode.INVALID_INPUT, message, cause=cause)
