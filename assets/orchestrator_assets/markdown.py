"""Text in the Markdown of Dagster's UI that agents, models or tools wrote: it stays text."""

import re


def fenced(text: str, language: str = "") -> str:
    """Return a code block of a text, which cannot end it: a link that an agent writes must not look like ours."""
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{text}\n{fence}"
