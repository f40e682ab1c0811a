"""Which of the calls that a journal holds a call is to get: one decision for every store."""

from collections.abc import Collection
from dataclasses import dataclass

from orchestrator_gateway.journal import Asked, Claimed


@dataclass(kw_only=True)
class Row:
    """A call of a scope, as its store has it now.

    Attributes:
        number: Names it.
        request: The one that began it.
        attempt: The try that began it.
        exact: Of its fingerprint.
        loose: Of its fingerprint.
        answered: Whether its answer is recorded.
        lapsed: Whether it is not, and its gateway gave no sign of life for the lease's length.
        had: Tries that were given it, each by which request.
    """

    number: int
    request: str
    attempt: str
    exact: str
    loose: str
    answered: bool
    lapsed: bool
    had: dict[str, str]


@dataclass(frozen=True, kw_only=True)
class Decision:
    """What a store writes down before it tells `claimed`.

    Attributes:
        claimed: What the call is to get; without a number when it is new, or stale.
        given: Whether its try has it from now on.
        lapsed: Numbers of equal calls to drop, whose gateways are gone.
    """

    claimed: Claimed
    given: bool = False
    lapsed: tuple[int, ...] = ()


def decide(rows: Collection[Row], asked: Asked, answers: int) -> Decision:
    """Decide what a call is to get; see `Journal.claim`.

    Args:
        rows: Calls of its scope in the order of their numbers; at least those with its fingerprint or its request.
        asked: The call.
        answers: How many answers of the scope hold words now.
    """
    own = next((row for row in rows if row.request == asked.request), None)
    if own is not None:
        return Decision(claimed=Claimed(state="answered" if own.answered else "new", number=own.number))
    given = next((row for row in rows if row.had.get(asked.attempt) == asked.request), None)
    if given is not None and not given.lapsed:
        return Decision(claimed=_of(given))
    if answers != asked.answers:
        return Decision(claimed=Claimed(state="stale"))
    others = [row for row in rows if row.attempt != asked.attempt]
    free = [row for row in others if not row.lapsed and asked.attempt not in row.had]
    for exact in (True, False):
        for answered in (True, False):
            for row in free:
                equal = row.exact in asked.exacts if exact else row.loose in asked.looses
                if equal and row.answered == answered:
                    return Decision(claimed=_of(row), given=True)
    lapsed = [row for row in others if row.lapsed and (row is given or _equal(row, asked))]
    return Decision(claimed=Claimed(state="new"), lapsed=tuple(row.number for row in lapsed))


def _of(row: Row) -> Claimed:
    return Claimed(state="answered" if row.answered else "pending", number=row.number)


def _equal(row: Row, asked: Asked) -> bool:
    return row.exact in asked.exacts or row.loose in asked.looses
