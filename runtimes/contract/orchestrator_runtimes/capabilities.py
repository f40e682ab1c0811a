"""What an adapter says it can do; the conformance suite proves each claim."""

from dataclasses import dataclass
from enum import StrEnum


class Capability(StrEnum):
    """One thing a runtime may be able to do.

    `RUN`, `USAGE`, `ISOLATION`, `ERRORS` and `CANCEL` are mandatory: an adapter without them is not one.
    """

    RUN = "run"
    ERRORS = "errors"
    USAGE = "usage"
    ISOLATION = "isolation"
    CANCEL = "cancel"
    STREAM = "stream"
    TOOLS = "tools"
    SESSION = "session"
    LIMITS = "limits"
    CONCURRENCY = "concurrency"
    STRUCTURED_OUTPUT = "structured_output"
    MULTI_AGENT = "multi_agent"
    CRASH_RESUME = "crash_resume"
    APPROVAL = "approval"


MANDATORY = frozenset(
    {Capability.RUN, Capability.ERRORS, Capability.USAGE, Capability.ISOLATION, Capability.CANCEL}
)


@dataclass(frozen=True, kw_only=True)
class Support:
    """Whether a capability is there.

    Attributes:
        supported: True when the conformance suite must prove it.
        reason: Why not, or how far; shown to people. Empty when there is nothing to add.
    """

    supported: bool
    reason: str = ""


YES = Support(supported=True)


def no(reason: str) -> Support:
    """Say that a capability is missing, and why."""
    return Support(supported=False, reason=reason)
