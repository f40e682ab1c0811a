"""What a guest tells while an execution runs, as `event` notifications."""

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from orchestrator_runtimes.errors import ErrorCode
from orchestrator_runtimes.json_values import Json
from orchestrator_runtimes.messages import FinishReason, Usage

LOG_CHARACTERS: Final = 4_000
"""Longest text of a `log` or `message` event; what is longer is cut by the worker."""


@dataclass(frozen=True, kw_only=True)
class Started:
    """The agent began."""

    kind: Literal["started"] = "started"


@dataclass(frozen=True, kw_only=True)
class ModelCall:
    """A model call ended.

    Attributes:
        model: Name that was asked for.
        seconds: From request to the answer's end.
        input_tokens: None when the endpoint reported no usage.
        output_tokens: As above.
        error: None when the answer was usable.
    """

    model: str
    seconds: float
    input_tokens: int | None = None
    output_tokens: int | None = None
    error: ErrorCode | None = None
    kind: Literal["model_call"] = "model_call"


@dataclass(frozen=True, kw_only=True)
class ToolCall:
    """A tool call ended; `error` is what the tool raised, None when it returned. `replayed` came from the journal."""

    name: str
    seconds: float
    error: str | None = None
    replayed: bool = False
    kind: Literal["tool_call"] = "tool_call"


@dataclass(frozen=True, kw_only=True)
class Message:
    """An agent said something whole; `agent` is its name where the framework tells."""

    text: str
    agent: str | None = None
    kind: Literal["message"] = "message"


@dataclass(frozen=True, kw_only=True)
class Token:
    """A piece of an answer as it is written."""

    text: str
    kind: Literal["token"] = "token"


@dataclass(frozen=True, kw_only=True)
class StateSaved:
    """The session's state was stored; `characters` is its length."""

    characters: int
    kind: Literal["state_saved"] = "state_saved"


@dataclass(frozen=True, kw_only=True)
class ApprovalRequested:
    """The agent waits for a decision; `request` says about what."""

    request: Json
    kind: Literal["approval_requested"] = "approval_requested"


@dataclass(frozen=True, kw_only=True)
class Log:
    """A line that the agent's code printed or logged."""

    text: str
    level: Literal["debug", "info", "warning", "error"] = "info"
    kind: Literal["log"] = "log"


@dataclass(frozen=True, kw_only=True)
class Metric:
    """A number the adapter knows, such as the framework's own timing."""

    name: str
    value: float
    kind: Literal["metric"] = "metric"


@dataclass(frozen=True, kw_only=True)
class Finished:
    """The last event of an execution that did not fail."""

    finish_reason: FinishReason
    usage: Usage
    kind: Literal["finished"] = "finished"


@dataclass(frozen=True, kw_only=True)
class Failed:
    """The last event of an execution that failed."""

    code: ErrorCode
    message: str
    usage: Usage
    kind: Literal["failed"] = "failed"


Event: TypeAlias = (
    Started
    | ModelCall
    | ToolCall
    | Message
    | Token
    | StateSaved
    | ApprovalRequested
    | Log
    | Metric
    | Finished
    | Failed
)


@dataclass(frozen=True, kw_only=True)
class EventNotification:
    """Parameters of `event`.

    Attributes:
        execution: Whose it is.
        sequence: Counts the events of the execution from 0, without gaps.
        time: Seconds since the epoch, by the guest's clock.
        event: What happened.
    """

    execution: str
    sequence: int
    time: float
    event: Event
