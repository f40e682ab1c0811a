"""What the agent may call."""

from typing import Annotated


def opening_hours(day: Annotated[str, "day of the week"]) -> str:
    """Tell when the museum is open."""
    return "closed" if day.lower() == "monday" else "10 to 18"
