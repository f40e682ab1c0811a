"""A reviewer written in AgentScope."""

import os

from agentscope.agent import Agent, InjectionConfig
from agentscope.credential import OpenAICredential
from agentscope.model import OpenAIChatModel
from agentscope.permission import PermissionContext, PermissionMode
from agentscope.state import AgentState
from agentscope.tool import FunctionTool, Toolkit
from facts import read_licence, read_requirements

credential = OpenAICredential(api_key=os.environ["OPENAI_API_KEY"], base_url=os.environ["OPENAI_BASE_URL"])
reviewer = Agent(
    name="reviewer",
    system_prompt="You review Python distributions: read the licence, then say which it is.",
    model=OpenAIChatModel(credential=credential, model="smollm2", stream=False),
    toolkit=Toolkit(tools=[FunctionTool(read_licence), FunctionTool(read_requirements)]),
    state=AgentState(permission_context=PermissionContext(mode=PermissionMode.BYPASS)),  # the tools only read
    injection_config=InjectionConfig(
        inject_runtime_state=False
    ),  # the time of day would confuse a small model
)
