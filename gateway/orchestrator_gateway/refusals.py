"""A call that comes to nothing: what the guest is told, and whether somebody else may do better."""

import json
from typing import Literal

Remedy = Literal["none", "elsewhere", "again"]
"""Whether nothing helps, another upstream may, or this one may, too, after a while."""


class Refused(Exception):
    """The upstream answered with an error or not at all, or was not even asked.

    Attributes:
        status: What the guest is told.
        body: The upstream's own words, or ours where it had none.
        content_type: Of the body.
        remedy: What may help.
        retry_after: Seconds after which it is worth asking again; None when nobody knows.
        ours: Whether the gateway says so, and not an upstream.
    """

    def __init__(
        self,
        status: int,
        body: bytes,
        content_type: str = "application/json",
        *,
        remedy: Remedy = "none",
        retry_after: float | None = None,
        ours: bool = False,
    ) -> None:
        """Tell an error."""
        super().__init__(f"status {status}")
        self.status, self.body, self.content_type = status, body, content_type
        self.remedy, self.retry_after, self.ours = remedy, retry_after, ours


def refusal(
    status: int,
    message: str,
    *,
    kind: str = "gateway",
    code: str | None = None,
    remedy: Remedy = "none",
    retry_after: float | None = None,
) -> Refused:
    """Return a refusal in the gateway's own words."""
    body = error_body(message, kind=kind, code=code)
    return Refused(status, body, remedy=remedy, retry_after=retry_after, ours=True)


def error_body(message: str, *, kind: str = "gateway", code: str | None = None) -> bytes:
    """Return an error as an OpenAI client reads it."""
    error = {"message": message[:1_000], "type": kind, "param": None, "code": code}
    return json.dumps({"error": error}).encode()
