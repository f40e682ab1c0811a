"""The agent of the trials, in AgentScope's own kind."""

import os

from agentscope.agent import Agent
from agentscope.credential import OpenAICredential
from agentscope.model import OpenAIChatModel
from agentscope.permission import PermissionContext, PermissionMode
from agentscope.state import AgentState
from agentscope.tool import FunctionTool, Toolkit

from tools import tell_soon


async def read(item: str, number: int, witness: str) -> str:
    """Read about an item."""
    return await tell_soon(witness, "read", item, number)


async def weigh(item: str, number: int, witness: str) -> str:
    """Weigh an item."""
    return await tell_soon(witness, "weigh", item, number)


async def order(item: str, number: int, witness: str) -> str:
    """Order an item."""
    return await tell_soon(witness, "order", item, number)


async def pay(item: str, number: int, witness: str) -> str:
    """Pay for an item."""
    return await tell_soon(witness, "pay", item, number)


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
