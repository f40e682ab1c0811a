"""An agent that tells the time: replace its tool and its instructions by your own."""

import os
from datetime import UTC, datetime

from agentscope.agent import Agent
from agentscope.credential import OpenAICredential
from agentscope.model import OpenAIChatModel
from agentscope.permission import PermissionContext, PermissionMode
from agentscope.state import AgentState
from agentscope.tool import FunctionTool, Toolkit


def current_time() -> str:
    """Tell the current time in UTC."""
    return datetime.now(UTC).isoformat(timespec="minutes")


agent = Agent(
    name="clock",
    system_prompt="Answer questions about the time. Call current_time first.",
    model=OpenAIChatModel(
        credential=OpenAICredential(
            api_key=os.environ["OPENAI_API_KEY"], base_url=os.environ["OPENAI_BASE_URL"]
        ),
        model=os.environ.get("OPENAI_MODEL", "smollm2"),
    ),
    toolkit=Toolkit(tools=[FunctionTool(current_time)]),
    # nobody is there to confirm a tool call
    state=AgentState(permission_context=PermissionContext(mode=PermissionMode.BYPASS)),
)
