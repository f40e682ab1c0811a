"""What the trusted side tells of executions that have ended, for their spans and metrics: no inputs and no outputs."""

from dataclasses import dataclass, field
from typing import Final

from orchestrator_runtimes.messages import Usage

MOST_REPORTS: Final = 200
"""Executions in one request at most."""

MOST_TOOLS: Final = 1_000
"""Tool calls that are told of one execution; what a guest tells beyond them is only counted."""

NAME_CHARACTERS: Final = 200
"""Longest name that is told; names of tools come from guests."""


@dataclass(frozen=True, kw_only=True)
class ToolReport:
    """A tool call, as the guest told of it.

    Attributes:
        name: Of the tool.
        began: Unix time in seconds, within the execution.
        seconds: How long it took.
        failed: Whether the tool raised.
        replayed: Whether an earlier try made it.
    """

    name: str
    began: float
    seconds: float
    failed: bool = False
    replayed: bool = False


@dataclass(frozen=True, kw_only=True)
class ExecutionReport:
    """An execution that has ended in a run, with whatever tries the run needed for it.

    Attributes:
        traceparent: W3C trace context of its span; what it called has this as its parent.
        parent: Trace context that its span belongs to; None begins the trace.
        execution: Its id.
        agent: Digest of the agent; empty where it could not be loaded.
        name: What people call the agent.
        framework: That ran it.
        location: The code location; empty where it is not known.
        run: Id of the Dagster run; None outside of any.
        session: Its conversation; None where it has none.
        structured: Whether its output has a schema.
        began: Unix time in seconds.
        seconds: How long it took.
        finish_reason: How it ended; None when it failed.
        error: Code of the error; None when it did not fail.
        usage: What it consumed, answers of earlier tries included.
        tools: Its tool calls.
    """

    traceparent: str
    parent: str | None
    execution: str
    agent: str
    name: str
    framework: str
    location: str
    run: str | None
    session: str | None
    structured: bool
    began: float
    seconds: float
    finish_reason: str | None
    error: str | None
    usage: Usage = field(default_factory=Usage)
    tools: tuple[ToolReport, ...] = ()


@dataclass(frozen=True, kw_only=True)
class ReportedExecutions:
    """`/admin/executions`: executions of a tenant that have ended."""

    tenant: str
    executions: tuple[ExecutionReport, ...]
