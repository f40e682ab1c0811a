"""Native AgentScope agents, as users write them, for the conformance suite."""

import asyncio
import os
from typing import Any

from agentscope.agent import Agent, ReActConfig
from agentscope.credential import OpenAICredential
from agentscope.message import UserMsg
from agentscope.model import OpenAIChatModel
from agentscope.permission import PermissionBehavior, PermissionContext, PermissionDecision, PermissionMode
from agentscope.pipeline import TeamMember, TeamPipeline
from agentscope.state import AgentState
from agentscope.tool import FunctionTool, Toolkit

credential = OpenAICredential(api_key=os.environ["OPENAI_API_KEY"], base_url=os.environ["OPENAI_BASE_URL"])
allowed = PermissionDecision(behavior=PermissionBehavior.ALLOW, message="reads only")


def weather(city: str) -> str:
    """Tell the weather in a city."""
    return f"sunny in {city}"


async def broken(city: str) -> str:
    """Fail, always."""
    raise ValueError(f"no station in {city}")


async def survey(city: str) -> str:
    """Ask agents about both sides of a city: one in a task of this tool's own, one in a thread with its own loop."""

    async def ask(side: str) -> str:
        answer = await make(side).reply(UserMsg(name="user", content=f"{side} of {city}"))
        return answer.get_text_content() or ""

    task = asyncio.create_task(ask("north"))
    south = await asyncio.to_thread(lambda: asyncio.run(ask("south")))
    return f"{await task}, {south}"


def bypass() -> AgentState:
    """Allow every tool."""
    return AgentState(permission_context=PermissionContext(mode=PermissionMode.BYPASS))


def make(name: str, *tools: FunctionTool, **options: Any) -> Agent:
    """Make an agent."""
    model = OpenAIChatModel(credential=credential, model="scripted", stream=False)
    return Agent(
        name=name, system_prompt="You help.", model=model, toolkit=Toolkit(tools=list(tools)), **options
    )


assistant = make("assistant")
with_tool = make("forecaster", FunctionTool(weather, permission=allowed))
surveying = make("surveyor", FunctionTool(survey, permission=allowed))
raising = make("broken", FunctionTool(broken), state=bypass())
asking = make("asking", FunctionTool(weather))
tireless = make("tireless", FunctionTool(weather), state=bypass(), react_config=ReActConfig(max_iters=3))


def team() -> TeamPipeline:
    """Make a team whose leader answers or assigns."""
    return TeamPipeline(
        leader=make("leader"), members=[TeamMember(agent=with_tool, description="knows the weather")]
    )


async def factory() -> Agent:
    """Make an agent, with the model's answers streamed."""
    model = OpenAIChatModel(credential=credential, model="scripted")
    return Agent(name="streaming", system_prompt="You help.", model=model, state=bypass())
