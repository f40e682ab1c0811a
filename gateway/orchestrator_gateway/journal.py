"""The journal of model calls and tool calls: what a store must do, whichever database is below it.

Several gateways may share one. Which answer a call gets is decided here, in one transaction, and not in the memory of a
gateway: so a try may go on with another gateway, or with the same one after a restart, and no call is made by two.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, Protocol

from orchestrator_runtimes.messages import Step, StepLookup, StepRecord, Usage

LEASE_SECONDS: Final = 15.0
"""How long a call belongs to its gateway after its last sign of life; see `JournalLimits.lease_seconds`."""


@dataclass(frozen=True, kw_only=True)
class JournalLimits:
    """How much a journal keeps, and for how long.

    Attributes:
        retention_seconds: How long calls are kept of an execution that never came to an end; a month, as a retry that
            late is a new run.
        answer_bytes: Longest answer that is kept, before it is compressed; a call with a longer one fails, as a retry
            would repeat it. 16 MiB is far beyond what models write, and within what a row may hold.
        lease_seconds: How long a call is waited for whose gateway gives no sign of life: then another one makes it.
            Long enough for a gateway that is only slow.
        patience_seconds: For how long a database that does not answer is asked again before a call is refused with
            503: a restart or a failover takes seconds, which an answer that was paid for is worth. PostgreSQL only.
    """

    retention_seconds: float = 30 * 24 * 3600.0
    answer_bytes: int = 16 * 2**20
    lease_seconds: float = LEASE_SECONDS
    patience_seconds: float = 10.0

    def __post_init__(self) -> None:
        """Refuse what cannot be kept to."""
        if self.retention_seconds <= 0 or self.answer_bytes <= 0:
            raise ValueError("retention_seconds and answer_bytes are more than 0")
        if self.lease_seconds < 1:
            raise ValueError("lease_seconds is 1 or more: a gateway that is busy must not lose its calls")
        if self.patience_seconds < 0:
            raise ValueError("patience_seconds is 0 or more")


@dataclass(frozen=True, kw_only=True)
class Scope:
    """Whose calls: those of one execution of one agent of one tenant. Nothing is ever served across scopes."""

    tenant: str
    execution: str
    agent: str


@dataclass(frozen=True, kw_only=True)
class Words:
    """What a scope's answers were about.

    Attributes:
        answers: How many answers hold words.
        digests: Digests of the volatile-looking words of them (`fingerprints.digest_of`).
    """

    answers: int = 0
    digests: frozenset[str] = frozenset()


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A call that a guest asks for.

    Attributes:
        request: Names this request and no other; the same when it asks again.
        attempt: The try of the execution that makes it.
        exact: See `fingerprints.Fingerprint`.
        loose: The same; it depends on the words that are known.
        answers: Of how many answers the words are known.
        former: Its exact and its loose name as they were written before tenants had keys; None where they are the same.
    """

    request: str
    attempt: str
    exact: str
    loose: str
    answers: int = 0
    former: tuple[str, str] | None = None

    @property
    def exacts(self) -> tuple[str, str]:
        """The exact names that an equal call may have."""
        return self.exact, self.exact if self.former is None else self.former[0]

    @property
    def looses(self) -> tuple[str, str]:
        """The loose names that an equal call may have."""
        return self.loose, self.loose if self.former is None else self.former[1]


@dataclass(frozen=True, kw_only=True)
class Claimed:
    """What a call is to get.

    Attributes:
        state: `new`: nobody makes it, make it now. `answered`: take the answer. `pending`: somebody makes it; claim it
            again in a while. `stale`: the words of more answers are known; ask again with them.
        number: Names the call in its scope; None only when `stale`. Calls were begun in the order of their numbers.
    """

    state: Literal["new", "answered", "pending", "stale"]
    number: int | None = None


@dataclass(frozen=True, kw_only=True)
class Answer:
    """An answer of an upstream.

    Attributes:
        content_type: Of the body, as the upstream said.
        body: As it came; of a stream, every event.
        usage: What it cost; None when the upstream did not say.
    """

    content_type: str
    body: bytes = field(repr=False)
    usage: Usage | None = None


class JournalUnavailable(Exception):
    """The journal cannot be read or written now; nothing was lost that was acknowledged."""


class Superseded(Exception):
    """A call took so long without a sign of life that another gateway makes it, or its execution is over."""


class Journal(Protocol):
    """Remembers calls. Every method may raise `JournalUnavailable`."""

    async def words(self, scope: Scope) -> Words:
        """Return what the answers of a scope were about."""
        ...

    async def claim(self, scope: Scope, asked: Asked) -> Claimed:
        """Decide what a call is to get; durable when this returns.

        A call gets the answer of an equal one that its own try has not had yet: exactly equal ones first, in their
        order, then those that differ only in what the guest made up; answered ones go before those on their way. So
        two equal calls of one try are two calls in any order. A new call is its asker's until `renew` is not called
        for the lease's length: then whoever claims it first makes it anew.
        """
        ...

    async def renew(self, numbers: Collection[int]) -> None:
        """Give a sign of life for calls that are on their way."""
        ...

    async def answer(self, scope: Scope, number: int) -> Answer:
        """Return an answer.

        Raises:
            KeyError: The scope has no such call, or it is not answered.
        """
        ...

    async def record(
        self, scope: Scope, number: int, request: str, answer: Answer, words: frozenset[str]
    ) -> None:
        """Remember the answer to a call that was begun by `request`; durable when this returns.

        Raises:
            Superseded: The call is not this request's any more; the answer is not kept.
        """
        ...

    async def release(self, scope: Scope, number: int, request: str) -> None:
        """Drop a call that came to nothing."""
        ...

    async def lookup(self, tenant: str, step: StepLookup) -> Step:
        """Say what is known of a tool call, and mark one that may run only once as started."""
        ...

    async def record_step(self, tenant: str, step: StepRecord) -> None:
        """Remember a tool call's result; durable when this returns."""
        ...

    async def forget(self, tenant: str, executions: Sequence[str]) -> None:
        """Drop the calls and steps of executions whose results are stored elsewhere."""
        ...

    async def purge(self, tenant: str | None, older_than: float) -> int:
        """Drop executions of which nothing was recorded since a Unix time; of every tenant where it is None.

        Returns:
            How many calls and steps were dropped.
        """
        ...

    async def close(self) -> None:
        """Do what was asked for, and release the database."""
        ...
