"""AgentScope by itself: an agent for each run, over one model and one toolkit."""

from agentscope.message import UserMsg
from agentscope_agent import make


async def execute(prompt: str) -> str:
    answer = await make().reply(UserMsg(name="user", content=prompt))
    return str(answer.get_text_content())
