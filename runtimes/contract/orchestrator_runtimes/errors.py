"""The closed set of error codes, the same for every framework, and the one exception that carries them."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final


class ErrorCode(StrEnum):
    """Why an execution failed. The code is the retry policy: see `retryable`."""

    INVALID_INPUT = "invalid_input"
    AGENT_NOT_FOUND = "agent_not_found"
    AGENT_LOAD_FAILED = "agent_load_failed"
    MODEL_UNAVAILABLE = "model_unavailable"
    MODEL_RATE_LIMITED = "model_rate_limited"
    MODEL_REJECTED = "model_rejected"
    MODEL_BAD_OUTPUT = "model_bad_output"
    TOOL_FAILED = "tool_failed"
    OUTPUT_SCHEMA_MISMATCH = "output_schema_mismatch"
    LIMIT_EXCEEDED = "limit_exceeded"
    BUDGET_EXCEEDED = "budget_exceeded"
    TIMEOUT = "timeout"
    CANCELLED = "cancelled"
    STATE_UNAVAILABLE = "state_unavailable"
    RUNTIME_CRASHED = "runtime_crashed"
    FRAMEWORK_ERROR = "framework_error"

    @property
    def retryable(self) -> bool:
        """True when the same request may succeed later without a change of agent, input or limit."""
        return self in _RETRYABLE


_RETRYABLE: Final = frozenset(
    {
        ErrorCode.MODEL_UNAVAILABLE,
        ErrorCode.MODEL_RATE_LIMITED,
        ErrorCode.MODEL_BAD_OUTPUT,
        ErrorCode.TIMEOUT,
        ErrorCode.STATE_UNAVAILABLE,
        ErrorCode.RUNTIME_CRASHED,
    }
)

_CAUSE_CHARACTERS: Final = 2_000


class AgentError(Exception):
    """Root of every error of this project; survives pickling.

    Attributes:
        code: One of the closed set.
        message: One line: what is wrong, where, and what to change.
        cause: The foreign error behind it, at most 2,000 characters; None when there is none.
        detail: JSON-able facts for programs, such as `{"limit": "tool_calls", "allowed": 20}`.
    """

    def __init__(
        self,
        code: ErrorCode,
        message: str,
        *,
        cause: str | None = None,
        detail: Mapping[str, object] | None = None,
    ) -> None:
        """Make an error of `code`; `message` is shown to people as it is."""
        super().__init__(code, message)
        self.code = code
        self.message = message
        self.cause = cause if cause is None else cause[:_CAUSE_CHARACTERS]
        self.detail: dict[str, object] = dict(detail or {})

    def __str__(self) -> str:
        """Return `code: message`, and the cause behind it where there is one."""
        return f"{self.code}: {self.message}" + (f" ({self.cause})" if self.cause else "")

    def __reduce__(self) -> tuple[object, tuple[object, ...], dict[str, object]]:
        """Pickle with its type and every attribute, so that an error crosses process borders whole."""
        return _rebuild, (type(self), self.code, self.message), dict(self.__dict__)


def _rebuild(kind: type[AgentError], code: ErrorCode, message: str) -> AgentError:
    return kind.__new__(kind, code, message)
