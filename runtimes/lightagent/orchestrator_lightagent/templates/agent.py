"""An agent that tells the time: replace its tool and its instructions by your own."""

import os
from datetime import UTC, datetime

from LightAgent import LightAgent


def current_time() -> str:
    """Tell the current time in UTC."""
    return datetime.now(UTC).isoformat(timespec="minutes")


current_time.tool_info = {
    "tool_name": "current_time",
    "tool_description": current_time.__doc__,
    "tool_params": [],
}

agent = LightAgent(
    name="clock",
    model=os.environ.get("OPENAI_MODEL", "smollm2"),
    instructions="Answer questions about the time. Call current_time first.",
    tools=[current_time],
)
