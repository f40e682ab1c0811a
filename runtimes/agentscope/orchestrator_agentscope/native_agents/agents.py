"""Native AgentScope agents, as users write them, for the conformance suite."""

import asyncio
import os
from typing import Any, ClassVar

from agentscope.agent import Agent, ReActConfig
from agentscope.credential import OpenAICredential
from agentscope.message import UserMsg
from agentscope.model import OpenAIChatModel
from agentscope.permission import PermissionBehavior, PermissionContext, PermissionDecision, PermissionMode
from agentscope.pipeline import TeamMember, TeamPipeline
from agentscope.state import AgentState
from agentscope.tool import FunctionTool, ToolBase, Toolkit

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


class Census(ToolBase):
    """What is done elsewhere."""

    name = "census"
    description = "Ask the people of a city."
    input_schema: ClassVar[dict[str, Any]] = {
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
    }
    is_external_tool = True
    is_concurrency_safe = True
    is_read_only = True

    async def check_permissions(
        self, tool_input: dict[str, Any], context: PermissionContext
    ) -> PermissionDecision:
        """Allow it."""
        return allowed


def bypass() -> AgentState:
    """Allow every tool."""
    return AgentState(permission_context=PermissionContext(mode=PermissionMode.BYPASS))


def make(name: str, *tools: ToolBase, **options: Any) -> Agent:
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
counter = make("counter", Census())
tireless = make("tireless", FunctionTool(weather), state=bypass(), react_config=ReActConfig(max_iters=3))


def team() -> TeamPipeline:
    """Make a team whose leader answers or assigns."""
    return TeamPipeline(
        leader=make("leader"), members=[TeamMember(agent=with_tool, description="knows the weather")]
    )


def careful_team() -> TeamPipeline:
    """Make a team whose member asks before it uses its tool."""
    return TeamPipeline(
        leader=make("leader"), members=[TeamMember(agent=asking, description="knows the weather")]
    )


async def factory() -> Agent:
    """Make an agent, with the model's answers streamed."""
    model = OpenAIChatModel(credential=credential, model="scripted")
    return Agent(name="streaming", system_prompt="You help.", model=model, state=bypass())
