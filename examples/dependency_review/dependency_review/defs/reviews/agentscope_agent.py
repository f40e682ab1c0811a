"""A reviewer written in AgentScope."""

import os

from agentscope.agent import Agent
from agentscope.credential import OpenAICredential
from agentscope.model import OpenAIChatModel
from agentscope.tool import FunctionTool, Toolkit
from facts import read_licence, read_requirements

credential = OpenAICredential(api_key=os.environ["OPENAI_API_KEY"], base_url=os.environ["OPENAI_BASE_URL"])
reviewer = Agent(
    name="reviewer",
    system_prompt="You review Python distributions. Call read_licence with the distribution's name, then say which licence it has.",
    model=OpenAIChatModel(credential=credential, model="smollm2", stream=False),
    toolkit=Toolkit(tools=[FunctionTool(read_licence), FunctionTool(read_requirements)]),
)
