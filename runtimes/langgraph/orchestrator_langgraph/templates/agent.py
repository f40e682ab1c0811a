"""An agent that tells the time: replace its tool and its instructions by your own."""

import os
from datetime import UTC, datetime

from langchain.agents import create_agent
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI


@tool
def current_time() -> str:
    """Tell the current time in UTC."""
    return datetime.now(UTC).isoformat(timespec="minutes")


agent = create_agent(
    ChatOpenAI(model=os.environ.get("OPENAI_MODEL", "smollm2")),
    [current_time],
    system_prompt="Answer questions about the time. Call current_time first.",
)
