"""The tool of the trials."""


def note(text: str) -> str:
    """Note a text."""
    return f"noted: {text}"
