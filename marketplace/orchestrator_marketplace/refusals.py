"""Why a bundle is not taken: a closed set of names, and the one error that carries them."""

from enum import StrEnum

from orchestrator_runtimes.errors import AgentError, ErrorCode


class Refusal(StrEnum):
    """What is wrong with a bundle; programs and policies go by these names."""

    MALFORMED = "malformed"
    """It is no bundle of this format."""
    OVERSIZED = "oversized"
    """Something in it is larger than its limit."""
    BOMB = "bomb"
    """It says one size, and unpacks to another."""
    ESCAPING_PATH = "escaping_path"
    """A file of it would be written elsewhere."""
    LINK = "link"
    """It holds a link or a special file."""
    TAMPERED = "tampered"
    """Bytes are not those of their digest, or a signature is of other bytes."""
    UNSIGNED = "unsigned"
    """Nobody who is trusted has signed it."""
    UNPROVEN = "unproven"
    """It has no provenance of a trusted key."""
    EXPIRED = "expired"
    """Its signature, or the certificate of it, holds no longer, or not yet."""
    SQUATTED = "squatted"
    """Its name belongs to another publisher, looks like that of one, or is not the one that was asked for."""
    MOVED_TAG = "moved_tag"
    """A version that was seen before has other bytes now."""
    ROLLED_BACK = "rolled_back"
    """It is older than what was installed."""
    POLICY = "policy"
    """The tenant's policy does not allow it."""
    THRESHOLD = "threshold"
    """Its evaluation does not reach what its manifest asks for."""


class BundleRefused(AgentError):
    """A bundle is not taken; nothing of it was installed.

    Attributes:
        refusal: Why, as one of the closed set.
    """

    def __init__(self, refusal: Refusal, message: str, *, cause: str | None = None) -> None:
        """Refuse; `message` says what and where in one line, and is shown behind the refusal's name."""
        super().__init__(
            ErrorCode.AGENT_LOAD_FAILED,
            f"{refusal}: {message}",
            cause=cause,
            detail={"refusal": refusal.value},
        )
        self.refusal = refusal
