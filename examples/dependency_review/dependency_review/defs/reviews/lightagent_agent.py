"""A reviewer written in LightAgent."""

import os

from facts import read_licence, read_requirements
from LightAgent import LightAgent

for tool in (read_licence, read_requirements):
    tool.tool_info = {
        "tool_name": tool.__name__,
        "tool_description": tool.__doc__,
        "tool_params": [
            {"name": "name", "description": "name of the distribution", "type": "string", "required": True}
        ],
    }

reviewer = LightAgent(
    name="reviewer",
    model="smollm2",
    api_key=os.environ["OPENAI_API_KEY"],
    base_url=os.environ["OPENAI_BASE_URL"],
    role="You review Python distributions: read the licence, then say which it is.",
    tools=[read_licence, read_requirements],
)
