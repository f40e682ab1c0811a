"""The journal of model calls: what a store must do, whichever database is below it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from orchestrator_runtimes.messages import Usage


@dataclass(frozen=True, kw_only=True)
class Scope:
    """Whose calls: those of one execution of one agent of one tenant. Nothing is ever served across scopes."""

    tenant: str
    execution: str
    agent: str


@dataclass(frozen=True, kw_only=True)
class Answered:
    """A call that was answered, without the answer itself.

    Attributes:
        number: Names it within its scope's database; calls are in the order of their numbers.
        attempt: The try of the execution that made it.
        exact: See `fingerprints.Fingerprint`.
        loose: The same.
        words: Digests of the volatile-looking words of its answer.
    """

    number: int
    attempt: str
    exact: str
    loose: str
    words: frozenset[str] = frozenset()


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


class Journal(Protocol):
    """Remembers answers. Every method may raise `JournalUnavailable`."""

    async def answered(self, scope: Scope) -> Sequence[Answered]:
        """Return the calls of a scope that were answered, in order."""
        ...

    async def answer(self, scope: Scope, number: int) -> Answer:
        """Return an answer.

        Raises:
            KeyError: The scope has no such call.
        """
        ...

    async def record(self, scope: Scope, call: Answered, answer: Answer) -> Answered:
        """Remember an answer; durable when this returns.

        Returns:
            The call with its number; that of `call` does not count.
        """
        ...

    async def forget(self, tenant: str, executions: Sequence[str]) -> None:
        """Drop the calls of executions whose results are stored elsewhere."""
        ...

    async def purge(self, tenant: str | None, older_than: float) -> int:
        """Drop calls that were recorded before a Unix time; of every tenant where it is None.

        Returns:
            How many were dropped.
        """
        ...

    async def close(self) -> None:
        """Release the database."""
        ...
