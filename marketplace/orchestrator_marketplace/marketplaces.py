"""What a marketplace can do, as clients see it: an interface that others implement, with a conformance suite."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, Literal

from orchestrator_marketplace.evidence import Evidence
from orchestrator_marketplace.usage_reports import UsageReceipt, UsageReports
from orchestrator_marketplace.workflow import State
from orchestrator_runtimes.errors import AgentError, ErrorCode
from orchestrator_runtimes.json_values import Json

MOST_AT_ONCE: Final = 100
"""Entries of a page."""
LONGEST_WAIT_SECONDS: Final = 30.0
"""Of a request for events."""


class Problem(StrEnum):
    """Why a marketplace does not do something."""

    MALFORMED = "malformed"
    """The request is none."""
    FORBIDDEN = "forbidden"
    """Whoever signed it may not do that."""
    NOT_FOUND = "not_found"
    """There is none, or it is not public."""
    CONFLICT = "conflict"
    """Not in this state, or the name is taken."""
    LIMIT = "limit"
    """It is more than one publisher may do; it may work on another day."""
    GONE = "gone"
    """What was asked for was there, and is not kept any more."""
    UNAVAILABLE = "unavailable"
    """It may work later."""


_CODES: Final[Mapping[Problem, ErrorCode]] = {
    Problem.UNAVAILABLE: ErrorCode.STATE_UNAVAILABLE,
    Problem.LIMIT: ErrorCode.LIMIT_EXCEEDED,
}


class MarketplaceError(AgentError):
    """A marketplace does not do something.

    Attributes:
        problem: Why, as one of the closed set.
        cursor: With `gone`, the one after which all events are still there; None with any other problem.
    """

    def __init__(
        self, problem: Problem, message: str, *, cause: str | None = None, cursor: int | None = None
    ) -> None:
        """Say what, and what to change."""
        super().__init__(
            _CODES.get(problem, ErrorCode.INVALID_INPUT),
            message,
            cause=cause,
            detail={"problem": problem.value},
        )
        self.problem = problem
        self.cursor = cursor


@dataclass(frozen=True, kw_only=True)
class Query:
    """What somebody looks for; of each publisher's agent the highest public version answers.

    Attributes:
        text: Words that all stand in name, summary or documentation; empty finds all.
        publisher: None takes any.
        framework: None takes any.
        licence: None takes any; else the manifest's expression, whole.
        limit: Most listings of the page.
        after: Name of the last listing of the page before; None begins.
    """

    text: str = ""
    publisher: str | None = None
    framework: str | None = None
    licence: str | None = None
    limit: int = 20
    after: str | None = None

    def __post_init__(self) -> None:
        """Refuse pages without end."""
        if not 1 <= self.limit <= MOST_AT_ONCE:
            raise ValueError(f"limit: 1 to {MOST_AT_ONCE}")
        if len(self.text) > 200:
            raise ValueError("text: at most 200 characters")


@dataclass(frozen=True, kw_only=True)
class RatingSummary:
    """What platforms think of an agent, all its versions together.

    Attributes:
        average: Of their stars, 1 to 5, rounded to hundredths.
        count: How many platforms rated it.
    """

    average: float
    count: int


@dataclass(frozen=True, kw_only=True)
class Listing:
    """A version of an agent at a marketplace.

    Attributes:
        name: `publisher/agent`.
        version: As the manifest has it.
        state: Where it is.
        digest: Of the bundle.
        reference: Where the bundle is, with its digest.
        manifest: What the bundle says of itself; empty before it was checked.
        documentation: Markdown; empty before it was checked.
        findings: What the checks say, one line each.
        reason: Why it is a draft again, deprecated or withdrawn; None when nothing was said.
        replacement: What to take in place of it; None when nothing was said.
        changed: When its state changed, RFC 3339.
        rating: What platforms think of the agent; None when none has rated it.
    """

    name: str
    version: str
    state: State
    digest: str
    reference: str
    manifest: Mapping[str, Json] = field(default_factory=dict[str, Json])
    documentation: str = ""
    findings: tuple[str, ...] = ()
    reason: str | None = None
    replacement: str | None = None
    changed: str = ""
    rating: RatingSummary | None = None


@dataclass(frozen=True, kw_only=True)
class Listings:
    """A page; `after` asks for the next one, None when it is the last."""

    listings: tuple[Listing, ...]
    after: str | None = None


@dataclass(frozen=True, kw_only=True)
class Rating:
    """What one platform thinks of an agent; the later one counts.

    Attributes:
        platform: Whose key signed it.
        stars: 1 to 5.
        version: Which one it ran.
        at: When, RFC 3339.
        comment: For people; empty when nothing was said.
    """

    platform: str
    stars: int
    version: str
    at: str
    comment: str = ""


@dataclass(frozen=True, kw_only=True)
class Ratings:
    """A page, by name of the platform; `after` asks for the next one, None when it is the last."""

    ratings: tuple[Rating, ...]
    after: str | None = None


@dataclass(frozen=True, kw_only=True)
class PublisherKeys:
    """A publisher's keys, as PEM: those whose signatures count now."""

    publisher: str
    keys: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Event:
    """Something that changed.

    Attributes:
        cursor: Grows from event to event.
        at: When, RFC 3339.
        kind: A move of the workflow, or `register`, `add_key`, `remove_key`, `rate`.
        publisher: Whose.
        agent: None for events of a publisher.
        version: None for events of a publisher.
        state: Where the version is now; None for events of a publisher.
        digest: Of the bundle; None for events of a publisher.
    """

    cursor: int
    at: str
    kind: str
    publisher: str
    agent: str | None = None
    version: str | None = None
    state: State | None = None
    digest: str | None = None


@dataclass(frozen=True, kw_only=True)
class Events:
    """Events in their order; whoever asks again after `cursor` misses none and sees none twice."""

    events: tuple[Event, ...]
    cursor: int


@dataclass(frozen=True, kw_only=True)
class Subscription:
    """Events that are sent to an address as webhooks (see `webhook_signatures`), each at least once and in their order.

    Attributes:
        id: That of the action that asked for it; whoever knows it may look.
        url: Where they are sent.
        events: Kinds of events; empty sends all.
        about: `publisher`, or `publisher/agent`; None sends what is about anybody.
        state: `paused` when nothing was taken for so long that nothing is sent until it is resumed.
        cursor: Of the last event that was taken, or that nobody asked for.
        failures: How often nothing was taken since then.
        error: Why nothing was taken the last time; None when it was.
        secret: By which messages are signed; shown once, to who subscribed, and None ever after.
    """

    id: str
    url: str
    events: tuple[str, ...] = ()
    about: str | None = None
    state: Literal["active", "paused", "ended"] = "active"
    cursor: int = 0
    failures: int = 0
    error: str | None = None
    secret: str | None = None


class Marketplace(ABC):
    """A marketplace. Every method raises `MarketplaceError`."""

    @abstractmethod
    def search(self, query: Query) -> Listings:
        """Return public agents, each in its highest public version, by name."""

    @abstractmethod
    def versions(self, name: str) -> tuple[Listing, ...]:
        """Return the versions of an agent that were ever public, the highest first."""

    @abstractmethod
    def version(self, name: str, version: str) -> Listing:
        """Return a version in whatever state: its publisher has to see what the checks said."""

    @abstractmethod
    def evidence(self, name: str, version: str) -> Evidence:
        """Return what the checks saw of a version when it last passed them; `not_found` when it never did."""

    @abstractmethod
    def history(self, name: str) -> Events:
        """Return the last `MOST_AT_ONCE` events of an agent's versions, in their order; empty where there are none."""

    @abstractmethod
    def publisher(self, name: str) -> PublisherKeys:
        """Return whose signatures count for a publisher."""

    @abstractmethod
    def ratings(self, name: str, *, limit: int = MOST_AT_ONCE, after: str | None = None) -> Ratings:
        """Return what platforms think of an agent, after the platform `after`; None begins."""

    @abstractmethod
    def events(self, after: int, *, limit: int = MOST_AT_ONCE, wait_seconds: float = 0.0) -> Events:
        """Return what changed after a cursor; 0 begins. Wait for the first event where there is none yet.

        Raises:
            MarketplaceError: `gone` when some of it is not kept any more: who read the listings anew after that, and
                goes on after the error's `cursor`, has missed nothing.
        """

    @abstractmethod
    def report_usage(self, report: bytes) -> UsageReceipt:
        """Take what a platform says of a month (see `usage_envelopes`), and return which report counts then.

        One that comes again, or after a correction, changes nothing.
        """

    @abstractmethod
    def usage(self, question: bytes) -> UsageReports:
        """Return the reports of a month that count, to the publisher whose agents they are about, or to an operator."""

    @abstractmethod
    def act(self, action: bytes) -> Listing | None:
        """Do what an action says (see `actions`), and return the version as it is then; None for a publisher's keys.

        The same action again does nothing, and returns the same.
        """

    @abstractmethod
    def subscribe(self, action: bytes) -> Subscription:
        """Do what an action of the kinds `subscribe`, `resume` and `unsubscribe` says; return the subscription then.

        The same action again does nothing, and returns the same without the secret.
        """

    @abstractmethod
    def subscription(self, subscription: str) -> Subscription:
        """Return how a subscription is, by its id."""
