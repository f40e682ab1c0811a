"""Agents that were paused: what they ask, and how they are answered."""

from collections.abc import Mapping, Sequence
from typing import Any

from agno.run.requirement import RunRequirement

from orchestrator_runtimes.errors import AgentError, ErrorCode
from orchestrator_runtimes.json_values import Json


def asked(requirements: Sequence[RunRequirement]) -> object:
    """Return what a paused agent asks: its tool calls, each with what it wants of a person."""
    waiting = [requirement for requirement in requirements if not requirement.is_resolved()]
    return {"tools": [_described(requirement) for requirement in waiting]}


def _described(requirement: RunRequirement) -> dict[str, object]:
    tool: Any = requirement.tool_execution
    described: dict[str, object] = {
        "tool": tool.tool_name,
        "arguments": tool.tool_args,
        "wants": requirement.pause_type,
    }
    if requirement.user_input_schema:
        described["fields"] = [field.name for field in requirement.user_input_schema]
    return described


def answer(requirements: Sequence[RunRequirement], decision: Json) -> None:
    """Resolve what a paused agent asks.

    Args:
        requirements: Of the paused run; they are changed.
        decision: `approved`, true or false, and a `reason`, for confirmations; `fields` by name for user input;
            `result` for what is executed elsewhere.

    Raises:
        AgentError: `invalid_input` when the decision does not answer what is asked.
    """
    told = decision if isinstance(decision, Mapping) else {}
    for requirement in requirements:
        if requirement.needs_confirmation and told.get("approved") is True:
            requirement.confirm()  # type: ignore[no-untyped-call]  # Agno names no type
        elif requirement.needs_confirmation and told.get("approved") is False:
            reason = told.get("reason")
            requirement.reject(None if reason is None else str(reason))
        elif requirement.needs_external_execution and told.get("result") is not None:
            requirement.set_external_execution_result(str(told["result"]))
        elif requirement.needs_user_input and isinstance(fields := told.get("fields"), Mapping):
            requirement.provide_user_input(dict(fields))
    open_ones = [requirement for requirement in requirements if not requirement.is_resolved()]
    if open_ones:
        raise AgentError(
            ErrorCode.INVALID_INPUT,
            f"the decision does not answer the tool call that wants {open_ones[0].pause_type}; give an object with"
            " `approved` for a confirmation, `fields` for user input, `result` for an external execution",
        )
