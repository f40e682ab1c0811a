"""Whether a browser was made to send a request by a page of somebody else (CSRF)."""

from collections.abc import Sequence
from typing import Final

SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})


def foreign(headers: Sequence[tuple[bytes, bytes]], *, method: str | None, origin: str) -> str | None:
    """Return why a request with a session may be another site's; None when it is from a page of this one.

    Browsers write `Origin` for everything that changes something and for every websocket, and newer ones
    `Sec-Fetch-Site`, of which not all say the same for websockets; neither can be written by a page. What has neither
    is no browser of these years.

    Args:
        headers: Of the request.
        method: Of the request; None for a websocket.
        origin: Of this platform.
    """
    if method in SAFE_METHODS:
        return None
    origins = [value.decode("latin-1").lower() for name, value in headers if name == b"origin"]
    sites = [value.decode("latin-1").lower() for name, value in headers if name == b"sec-fetch-site"]
    if method is not None and any(site != "same-origin" for site in sites):
        return "it was sent by a page of another site"
    if any(one != origin for one in origins) or len(origins) > 1:
        return f"it was sent by a page of another origin than {origin}"
    if not origins and (method is None or not sites):
        return "it does not say which page sent it: programs use an API token, not a session"
    return None
