"""The AgentScope agent under test: a conversation has an agent of its own, over one model and one toolkit."""

import os

from agentscope.agent import Agent
from agentscope.credential import OpenAICredential
from agentscope.model import OpenAIChatModel
from agentscope.permission import PermissionContext, PermissionMode
from agentscope.state import AgentState
from agentscope.tool import FunctionTool, Toolkit


async def weather(city: str) -> str:
    """Tell the weather in a city."""
    return f"sunny in {city}"


credential = OpenAICredential(api_key=os.environ["OPENAI_API_KEY"], base_url=os.environ["OPENAI_BASE_URL"])
model = OpenAIChatModel(credential=credential, model="scripted", stream=False)
toolkit = Toolkit(tools=[FunctionTool(weather)])


def make() -> Agent:
    return Agent(
        name="forecaster",
        system_prompt="You know the weather.",
        model=model,
        toolkit=toolkit,
        state=AgentState(permission_context=PermissionContext(mode=PermissionMode.BYPASS)),
    )


agent = make()
