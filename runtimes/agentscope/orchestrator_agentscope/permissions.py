"""Agents that wait for a person: which calls they ask about, and how they are answered."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from agentscope.agent import Agent
from agentscope.event import ConfirmResult, ExternalExecutionResultEvent, UserConfirmResultEvent
from agentscope.message import ToolCallBlock, ToolCallState, ToolResultBlock, ToolResultState

from orchestrator_agentscope.copies import Runnable, agents_of
from orchestrator_runtimes.errors import AgentError, ErrorCode
from orchestrator_runtimes.json_values import Json

Answer = UserConfirmResultEvent | ExternalExecutionResultEvent

_ASSIGNMENT: Final = "TeamAssign"
"""The leader's call of a member, which the pipeline itself answers (AgentScope 2.0.10)."""


@dataclass(frozen=True, kw_only=True)
class _Waiting:
    """A call that waits for a person.

    Attributes:
        agent: Whose it is.
        call: The call.
    """

    agent: Agent
    call: ToolCallBlock

    @property
    def is_confirmation(self) -> bool:
        """Whether it wants a permission; else it wants the result of what is executed elsewhere."""
        return self.call.state == ToolCallState.ASKING


def _waiting(runnable: Runnable) -> Iterator[_Waiting]:
    for agent in agents_of(runnable):
        for call in agent.state.get_awaiting_tool_calls(agent.name):
            if call.name != _ASSIGNMENT:
                yield _Waiting(agent=agent, call=call)


def waits(runnable: Runnable) -> bool:
    """Return whether any of its agents waits for a person."""
    return any(True for _ in _waiting(runnable))


def asked(runnable: Runnable) -> object:
    """Return what its agents ask: tool calls, each with what it wants of a person."""
    return {
        "tools": [
            {
                "tool": one.call.name,
                "arguments": _arguments(one.call),
                "wants": "confirmation" if one.is_confirmation else "result",
            }
            for one in _waiting(runnable)
        ]
    }


def _arguments(call: ToolCallBlock) -> object:
    try:
        return json.loads(call.input)
    except ValueError:  # as the model wrote it
        return call.input


def answers(runnable: Runnable, decision: Json) -> Sequence[Answer]:
    """Return what its agents are told, an event or two for each that waits.

    Args:
        runnable: Is not changed.
        decision: `approved`, true or false, and `arguments` in place of the model's, for permissions; `result` for
            what is executed elsewhere.

    Raises:
        AgentError: `invalid_input` when nothing waits, or the decision does not answer what is asked.
    """
    told = decision if isinstance(decision, Mapping) else {}
    waiting = list(_waiting(runnable))
    if not waiting:
        raise AgentError(ErrorCode.INVALID_INPUT, "the session waits for no decision")
    lacking = [one for one in waiting if not _is_answered(one, told)]
    if lacking:
        raise AgentError(
            ErrorCode.INVALID_INPUT,
            f"the decision does not answer the call of {lacking[0].call.name}: give an object with"
            + (" `approved`, true or false" if lacking[0].is_confirmation else " its `result`"),
        )
    events = list[Answer]()
    for agent in agents_of(runnable):
        own = [one for one in waiting if one.agent is agent]
        if confirmed := [_confirmed(one.call, told) for one in own if one.is_confirmation]:
            events.append(UserConfirmResultEvent(reply_id=agent.state.reply_id, confirm_results=confirmed))
        if results := [_result(one.call, told) for one in own if not one.is_confirmation]:
            events.append(
                ExternalExecutionResultEvent(reply_id=agent.state.reply_id, execution_results=results)
            )
    return events


def _is_answered(one: _Waiting, told: Mapping[str, Json]) -> bool:
    if one.is_confirmation:
        return isinstance(told.get("approved"), bool)
    return told.get("result") is not None


def _confirmed(call: ToolCallBlock, told: Mapping[str, Json]) -> ConfirmResult:
    arguments = told.get("arguments")
    if isinstance(arguments, Mapping):
        call = call.model_copy(update={"input": json.dumps(arguments)})
    return ConfirmResult(confirmed=told["approved"] is True, tool_call=call)


def _result(call: ToolCallBlock, told: Mapping[str, Json]) -> ToolResultBlock:
    result = told["result"]
    text = result if isinstance(result, str) else json.dumps(result)
    return ToolResultBlock(id=call.id, name=call.name, output=text, state=ToolResultState.SUCCESS)
