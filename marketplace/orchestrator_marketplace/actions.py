"""What is done at a marketplace: actions, each signed by whoever does it; the key is the account.

An action is a DSSE envelope in a sigstore bundle, of a payload type of its own. It names the marketplace it is for,
has an id by which it is done once, and a time beside which it is not taken.
"""

import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, Literal, TypeAlias

from cryptography.hazmat.primitives.asymmetric import ec

from orchestrator_marketplace.envelopes import Envelope, open_envelope, seal
from orchestrator_marketplace.marketplaces import MarketplaceError, Problem
from orchestrator_marketplace.names import is_part, parse_version
from orchestrator_marketplace.refusals import BundleRefused
from orchestrator_runtimes.codec import InvalidMessage, decode, encode
from orchestrator_runtimes.json_values import NotJson, dump, parse

ACTION_TYPE: Final = "application/vnd.agent-orchestrator.marketplace-action.v1+json"
ACTION_BYTES: Final = 64 * 2**10
WINDOW: Final = timedelta(minutes=10)
"""How far the clock of whoever acts may be from the marketplace's."""

_LONGEST_REASON: Final = 500
_MOST_EVENTS: Final = 20


Kind: TypeAlias = Literal[
    "register", "add_key", "remove_key", "submit", "approve", "reject", "deprecate", "withdraw", "rate",
    "subscribe", "resume", "unsubscribe",
]  # fmt: skip
_TAKES: Final[Mapping[str, frozenset[str]]] = {
    **dict.fromkeys(("register", "add_key", "remove_key"), frozenset({"key"})),
    "submit": frozenset({"agent", "version", "reference"}),
    **dict.fromkeys(("approve", "reject", "deprecate", "withdraw"), frozenset({"agent", "version"})),
    "rate": frozenset({"agent", "version", "platform", "stars"}),
    "subscribe": frozenset({"url"}),
    **dict.fromkeys(("resume", "unsubscribe"), frozenset({"subscription"})),
}
"""What each kind needs; `reason` and `replacement` go with any."""
_MAY: Final[Mapping[str, frozenset[str]]] = {
    "subscribe": frozenset({"events", "about"}),
    "resume": frozenset({"after"}),
}
"""What a kind may have besides."""


@dataclass(frozen=True, kw_only=True)
class Action:
    """What somebody does.

    Attributes:
        marketplace: The name of the one that it is for.
        id: At random; 32 hexadecimal digits.
        at: When, RFC 3339.
        kind: What.
        publisher: Whose keys, version or subscription.
        agent: Which one; None for what concerns no agent.
        version: Which one; None for what concerns no agent.
        reference: Where the bundle is, with its digest; with `submit` alone.
        key: Public key as PEM; with `register`, `add_key` and `remove_key`.
        reason: Why, for whoever reads it; the comment of a rating.
        replacement: `publisher/agent` to take instead; with `deprecate` and `withdraw`.
        platform: Who rates, as it was registered; with `rate` alone.
        stars: 1 to 5; with `rate` alone.
        url: Where events are to be sent; with `subscribe` alone.
        events: Kinds of events that are to be sent; None means all. With `subscribe` alone.
        about: `publisher` or `publisher/agent` whose events are to be sent; None means everybody's. As above.
        subscription: Which one; with `resume` and `unsubscribe`.
        after: Cursor after which a subscription goes on; None means where it is. With `resume` alone.
    """

    marketplace: str
    id: str
    at: str
    kind: Kind
    publisher: str
    agent: str | None = None
    version: str | None = None
    reference: str | None = None
    key: str | None = None
    reason: str | None = None
    replacement: str | None = None
    platform: str | None = None
    stars: int | None = None
    url: str | None = None
    events: tuple[str, ...] | None = None
    about: str | None = None
    subscription: str | None = None
    after: int | None = None

    def __post_init__(self) -> None:
        """Refuse what is not whole."""
        if len(self.id) != 32 or set(self.id) - set("0123456789abcdef"):
            raise ValueError("id: 32 hexadecimal digits")
        for name in ("publisher", "agent", "platform"):
            value = getattr(self, name)
            if value is not None and not is_part(value):
                raise ValueError(f"{name}: {value!r:.80} is no name")
        takes = _TAKES[self.kind]
        given = {name for name in _OWN if getattr(self, name) is not None}
        if not takes <= given <= takes | _MAY.get(self.kind, frozenset()):
            raise ValueError(f"{self.kind}: takes {', '.join(sorted(takes))}, and nothing else")
        if self.version is not None:
            try:
                parse_version(self.version)
            except BundleRefused as error:
                raise ValueError(error.message) from error
        if len(self.events or ()) > _MOST_EVENTS or not all(map(is_kind, self.events or ())):
            raise ValueError(f"events: at most {_MOST_EVENTS} kinds of events, such as approve")
        if self.about is not None and not all(map(is_part, self.about.split("/", 1))):
            raise ValueError(f"about: {self.about!r:.80} must be PUBLISHER or PUBLISHER/AGENT")
        if self.after is not None and not 0 <= self.after < 2**62:
            raise ValueError("after: a cursor")
        if self.stars is not None and not 1 <= self.stars <= 5:
            raise ValueError("stars: 1 to 5")
        if self.platform == self.publisher:
            raise ValueError("platform: nobody rates their own agents")
        if len(self.reason or "") > _LONGEST_REASON or len(self.replacement or "") > _LONGEST_REASON:
            raise ValueError(f"reason, replacement: at most {_LONGEST_REASON} characters")


_OWN: Final = frozenset(name for names in (*_TAKES.values(), *_MAY.values()) for name in names)
"""What an action has only where its kind needs it."""


def is_kind(text: str) -> bool:
    """Tell whether a text may name a kind of event; marketplaces may have kinds that are not known here."""
    return re.fullmatch(r"[a-z][a-z_]{0,39}", text) is not None


def new_id() -> str:
    """Return an id that no other action has."""
    return secrets.token_hex(16)


def moment(at: datetime) -> str:
    """Return a moment as actions and events have it."""
    return at.astimezone(UTC).isoformat(timespec="microseconds")


def seal_action(action: Action, key: ec.EllipticCurvePrivateKey) -> bytes:
    """Return an action as it is sent."""
    return seal(dump(encode(action)), key, kind=ACTION_TYPE)


def open_action(content: bytes) -> tuple[Action, Envelope]:
    """Return an action, and the envelope that says by whom it is.

    Raises:
        MarketplaceError: `malformed`.
    """
    if len(content) > ACTION_BYTES:
        raise MarketplaceError(Problem.MALFORMED, f"an action is at most {ACTION_BYTES} bytes")
    try:
        envelope = open_envelope(content, ACTION_TYPE)
        return decode(Action, parse(envelope.payload), "action", strict=True), envelope
    except BundleRefused as error:
        raise MarketplaceError(Problem.MALFORMED, "no signed action", cause=error.cause) from error
    except (NotJson, InvalidMessage) as error:
        raise MarketplaceError(Problem.MALFORMED, str(error)) from error


def check_time(action: Action, now: datetime) -> None:
    """Refuse an action of another time: somebody may have kept it.

    Raises:
        MarketplaceError: `malformed`.
    """
    check_moment(action.at, now)


def check_moment(text: str, now: datetime) -> None:
    """Refuse what was signed at another time, in RFC 3339.

    Raises:
        MarketplaceError: `malformed`.
    """
    try:
        off = abs(now - datetime.fromisoformat(text))
    except (ValueError, TypeError) as error:
        raise MarketplaceError(Problem.MALFORMED, f"at: {text!r:.80} is no moment with a zone") from error
    if off > WINDOW:
        raise MarketplaceError(
            Problem.MALFORMED, f"what is asked for is of {text}, and it is {moment(now)}: set the clock"
        )
