"""The state of a session: the conversation of each agent, as text."""

import json

from agentscope.agent import Agent
from agentscope.pipeline import TeamPipeline
from agentscope.state import AgentState

from orchestrator_agentscope.copies import agents_of

PERMISSIONS = "permission_context"
"""The one part of a state that is the agent's, not the conversation's."""


def dump_states(runnable: Agent | TeamPipeline) -> str:
    """Return the conversations as text."""
    return json.dumps(
        {
            agent.name: agent.state.model_dump(mode="json", exclude={PERMISSIONS})
            for agent in agents_of(runnable)
        }
    )


def load_states(runnable: Agent | TeamPipeline, text: str) -> None:
    """Give the agents the conversations that `dump_states` told; an agent that is new begins its own."""
    told = json.loads(text)
    for agent in agents_of(runnable):
        if agent.name in told:
            state = AgentState.model_validate(told[agent.name])
            for name in AgentState.model_fields.keys() - {PERMISSIONS}:
                setattr(agent.state, name, getattr(state, name))
