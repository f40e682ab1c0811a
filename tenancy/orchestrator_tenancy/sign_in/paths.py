"""Where people go after they signed in: only ever a page of this platform."""

from typing import Final
from urllib.parse import quote

_LONGEST: Final = 1_000
_PLAIN: Final = "/?&=%:,;@!~*'()+$-._[]#"


def safe_path(text: str, prefix: str) -> str:
    """Return a path below the prefix, as it may stand in a header; the first page for whatever is none.

    Args:
        text: As somebody wrote it.
        prefix: Path that the platform is below; may be empty.
    """
    first = f"{prefix}/"
    if (
        len(text) > _LONGEST
        or not text.startswith(first)
        or text.startswith("//")
        or "\\" in text
        or not text.isprintable()
        or any(part in (".", "..") for part in text.partition("?")[0].split("/"))
        or text.startswith(f"{prefix}/sign-in")
    ):
        return first
    try:
        return quote(text, safe=_PLAIN)
    except UnicodeEncodeError:
        return first
