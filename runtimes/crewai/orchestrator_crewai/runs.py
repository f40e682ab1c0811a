"""One run of a crew, a flow or a portable agent, from its inputs to its answer, in a thread of its own.

Nothing of CrewAI runs on the worker's loop: also in its asynchronous calls it waits for threads that tell events, for
memories and for locks of files, and every other execution would wait with it.
"""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from crewai import Agent, Crew
from crewai.core.providers.human_input import ExecutorContext, set_provider
from crewai.flow.async_feedback.types import HumanFeedbackPending
from crewai.types.streaming import CrewStreamingOutput

from orchestrator_crewai.copies import FlowMaker, PortableCrewAgent, own_crew
from orchestrator_crewai.questions import People
from orchestrator_crewai.run_values import as_text, named_inputs, output_of
from orchestrator_crewai.sessions import (
    Message,
    dump_flow_state,
    dump_messages,
    load_flow_state,
    load_messages,
)
from orchestrator_runtimes.errors import AgentError, ErrorCode
from orchestrator_runtimes.messages import Run

Runnable: TypeAlias = Crew | FlowMaker | PortableCrewAgent


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a run produced.

    Attributes:
        output: JSON, or what the worker refuses.
        state: Of the session; empty without one.
    """

    output: object
    state: str = ""


def answer(agent: Runnable, run: Run, state: str | None) -> Answer:
    """Run an agent to its end.

    Args:
        agent: Is not changed.
        run: The request.
        state: What the session's last run answered as its state; None when there was none.
    """
    match agent:
        case FlowMaker():
            return asyncio.run(_flow_answer(agent, run, state))
        case Crew():
            return _crew_answer(agent, run, state)
        case PortableCrewAgent():
            return _agent_answer(agent, run, state)


def _crew_answer(crew: Crew, run: Run, state: str | None) -> Answer:
    messages = load_messages(state)
    inputs = named_inputs(run.inputs)
    if messages:
        inputs["crew_chat_messages"] = json.dumps(messages)
    result: Any = own_crew(crew).kickoff(inputs=inputs)
    if isinstance(result, CrewStreamingOutput):  # as its author asked
        for _ in result:
            pass
        result = result.result
    output = output_of(result)
    if run.session is None:
        return Answer(output=output)
    return Answer(output=output, state=dump_messages(messages, as_text(run.inputs), as_text(output)))


async def _flow_answer(maker: FlowMaker, run: Run, state: str | None) -> Answer:
    flow = await maker.made()
    result: Any = await flow.kickoff_async(inputs=load_flow_state(state) | named_inputs(run.inputs))
    if hasattr(result, "__aiter__"):  # as its author asked
        async for _ in result:
            pass
        result = result.result
    if isinstance(result, HumanFeedbackPending):
        raise AgentError(
            ErrorCode.FRAMEWORK_ERROR,
            "the flow waits for feedback by a provider of its own, which nobody here can go on from; leave the provider"
            " out, and a person is asked",
        )
    return Answer(
        output=output_of(result), state=dump_flow_state(flow.state) if run.session is not None else ""
    )


def _agent_answer(agent: PortableCrewAgent, run: Run, state: str | None) -> Answer:
    messages = load_messages(state)
    question = as_text(run.inputs)
    own = agent.make()
    said = [
        {"role": "system", "content": own.backstory},
        *messages,
        {"role": "user", "content": question},
    ]
    set_provider(_Said(own, said))
    result: Any = own.kickoff(question)
    return Answer(output=output_of(result), state=dump_messages(messages, question, result.raw))


class _Said(People):
    """Tells the model of one agent these messages alone, where CrewAI would write a prompt of its own around them."""

    def __init__(self, agent: Agent, messages: Sequence[Message]) -> None:
        self._agent = agent
        self._messages = messages

    def setup_messages(self, context: ExecutorContext) -> bool:
        """Put the messages in place; other agents, which a tool may run, get CrewAI's."""
        if context.agent is not self._agent:
            return False
        said: Any = self._messages
        context.messages.extend(said)
        return True
