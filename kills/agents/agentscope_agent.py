"""The agent of the trials, in AgentScope's own kind."""

import os

from agentscope.agent import Agent
from agentscope.credential import OpenAICredential
from agentscope.model import OpenAIChatModel
from agentscope.permission import PermissionContext, PermissionMode
from agentscope.state import AgentState
from agentscope.tool import FunctionTool, Toolkit

from tools import order, pay, read, weigh


def build() -> Agent:
    """Make the agent."""
    credential = OpenAICredential(
        api_key=os.environ["OPENAI_API_KEY"], base_url=os.environ["OPENAI_BASE_URL"]
    )
    return Agent(
        name="buyer",
        system_prompt="You buy what the user names.",
        model=OpenAIChatModel(credential=credential, model="m", stream=False),
        toolkit=Toolkit(tools=[FunctionTool(function) for function in (read, weigh, order, pay)]),
        state=AgentState(permission_context=PermissionContext(mode=PermissionMode.BYPASS)),
    )
