"""The answer of one run, whole or in pieces; a failure that LightAgent returns is raised here."""

from collections.abc import Callable
from typing import Any, Final

from LightAgent import (  # type: ignore[import-untyped]  # it ships no marker of its types
    LightAgent,
    LightFlow,
    LightFlowResult,
    LightSwarm,
    RunResult,
    StreamEvent,
)

from orchestrator_lightagent.copies import own_agent, own_flow
from orchestrator_lightagent.native_runs import LightAgentFailed
from orchestrator_runtimes.events import Token
from orchestrator_runtimes.execution import Execution

FINISH: Final = "finish"
"""The tool that ends a LightAgent's run: what it returns is the answer."""


def agent_answer(agent: LightAgent, question: str, execution: Execution) -> tuple[str, list[Any]]:
    """Run a copy of an agent and return its answer, and the messages behind it.

    Raises:
        LightAgentFailed: The run failed.
    """
    own: Any = own_agent(agent)
    text = _answer(own.run, (question,), execution)
    messages: list[Any] = own.chat_params.get("messages", [])
    if not text and messages and isinstance(messages[-1], dict) and messages[-1]["role"] == "tool":
        text = str(messages.pop()["content"])  # of `finish`, which only streams hand on
    return text, messages


def swarm_answer(swarm: LightSwarm, first: LightAgent, question: str, execution: Execution) -> str:
    """Run a swarm, `first` being asked first, and return its answer.

    Raises:
        LightAgentFailed: The run failed.
    """
    return _answer(swarm.run, (first, question), execution)


def flow_answer(flow: LightFlow, question: str) -> str:
    """Run a copy of a flow and return its answer, which does not come in pieces.

    Raises:
        LightAgentFailed: One of its steps did not succeed; a flow goes on over a step that a hook blocked.
    """
    result = own_flow(flow).run(question, result_format="object")
    assert isinstance(result, LightFlowResult)  # as asked for
    for step in result.steps:
        if step.status == "waiting_approval":
            raise LightAgentFailed(
                f"the step {step.name!r} waits for an approval, and this runtime cannot ask for one; give it an"
                " approval_handler"
            )
        if step.error is not None:
            raise LightAgentFailed(step.error)
    if not result.success:
        raise LightAgentFailed(f"the flow ended as {result.status}: {result.error}")
    return str(result.content)


def _answer(run: Callable[..., Any], arguments: tuple[Any, ...], execution: Execution) -> str:
    if execution.run.stream:
        return _streamed(run(*arguments, stream=True, result_format="event"), execution)
    result = run(*arguments, result_format="object")
    if not isinstance(result, RunResult):
        raise LightAgentFailed(str(result))  # as a swarm does that cannot hand over
    if result.error is not None:
        raise LightAgentFailed(result.error)
    return str(result.content)


def _streamed(events: Any, execution: Execution) -> str:
    """Tell the pieces of the answers, and return the last answer."""
    text = ""
    for event in events:
        match event:
            case StreamEvent(type="content", data=piece) if choices := getattr(piece, "choices", None):
                if content := choices[0].delta.content:
                    text += content
                    execution.emit_from_thread(Token(text=content))
            case StreamEvent(type="tool_call"):
                text = ""
            case StreamEvent(type="tool_result", data={"name": name, "output": output}) if name == FINISH:
                text += str(output)
            case str():
                raise LightAgentFailed(event)  # as above
            case _:
                pass
    return text
