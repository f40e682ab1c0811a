"""What a request shows of who sends it: a session of a browser, or a token of a program."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

Headers = Sequence[tuple[bytes, bytes]]

LONGEST_COOKIES: Final = 16_384
LONGEST_CREDENTIAL: Final = 200

_OURS: Final = b"x-orchestrator-"
"""Begins names of headers that only trusted parts may write to each other."""


@dataclass(frozen=True)
class Credential:
    """Something that names who asks.

    Attributes:
        kind: A `session` comes along without its owner's will, a `token` does not.
        text: As it was sent; a secret.
    """

    kind: Literal["session", "token"]
    text: str

    def __repr__(self) -> str:
        """Return it without the secret."""
        return f"Credential(kind={self.kind!r})"


@dataclass(frozen=True, kw_only=True)
class CookieNames:
    """How cookies are called.

    Attributes:
        https: Whether browsers come by TLS: then the name has the prefix that keeps other hosts from setting them.
    """

    https: bool

    @property
    def session(self) -> str:
        """Of the session."""
        return f"{self._prefix}orchestrator-session"

    def attempt(self, slot: str) -> str:
        """Of a sign-in on its way; there are as many as there are slots."""
        return f"{self._prefix}orchestrator-sign-in-{slot}"

    def set(self, name: str, value: str, seconds: int | None = None) -> str:
        """Return a header that sets a cookie.

        Args:
            name: Its name.
            value: Letters, digits, `-`, `_` and `.`; empty takes it away.
            seconds: How long it is kept; None until the browser ends.
        """
        kept = "; Max-Age=0" if not value else "" if seconds is None else f"; Max-Age={seconds}"
        return f"{name}={value}; Path=/; HttpOnly; SameSite=Lax{'; Secure' if self.https else ''}{kept}"

    @property
    def _prefix(self) -> str:
        return "__Host-" if self.https else ""


def read_cookies(headers: Iterable[tuple[bytes, bytes]]) -> Mapping[str, str]:
    """Return the cookies of a request; one that is there twice is left out, as somebody may have put it in."""
    found, twice = dict[str, str](), set[str]()
    text = b";".join(value for name, value in headers if name == b"cookie")
    if len(text) > LONGEST_COOKIES:
        return {}
    for part in text.decode("latin-1").split(";"):
        name, equals, value = part.strip().partition("=")
        if not equals:
            continue
        if name in found:
            twice.add(name)
        found[name] = value.strip('"')
    return {name: value for name, value in found.items() if name not in twice}


def read_credential(headers: Headers, names: CookieNames) -> Credential | None:
    """Return what a request shows; a token counts before a session, and with a bad one the session does not count.

    Args:
        headers: Of the request.
        names: Of the cookies.
    """
    shown = [value for name, value in headers if name == b"authorization"]
    bearers = [value[6:].strip() for value in shown if value.strip().partition(b" ")[0].lower() == b"bearer"]
    if bearers:
        text = bearers[0].decode("latin-1") if len(bearers) == len(shown) == 1 else ""
        return Credential("token", text if len(text) <= LONGEST_CREDENTIAL else "")
    session = read_cookies(headers).get(names.session)
    if not session or len(session) > LONGEST_CREDENTIAL:
        return None
    return Credential("session", session)


def without_credentials(headers: Headers, names: CookieNames) -> list[tuple[bytes, bytes]]:
    """Return headers as an application may see them: without what signs people in, and what nobody outside may say."""
    ours = names.session, *(names.attempt("")[:-1],)
    kept = list[tuple[bytes, bytes]]()
    for name, value in headers:
        if name == b"authorization" or name.replace(b"_", b"-").startswith(_OURS):
            continue
        if name != b"cookie":
            kept.append((name, value))
            continue
        parts = [part.strip() for part in value.decode("latin-1").split(";")]
        left = "; ".join(part for part in parts if part and not part.startswith(ours))
        if left:
            kept.append((name, left.encode("latin-1")))
    return kept
