"""An agent that tells the time: replace its tool and its instructions by your own."""

import os
from datetime import UTC, datetime

from pydantic_ai import Agent
from pydantic_ai.models.openai import OpenAIChatModel


def current_time() -> str:
    """Tell the current time in UTC."""
    return datetime.now(UTC).isoformat(timespec="minutes")


agent = Agent(
    OpenAIChatModel(os.environ.get("OPENAI_MODEL", "smollm2")),
    tools=[current_time],
    instructions="Answer questions about the time. Call current_time first.",
)
