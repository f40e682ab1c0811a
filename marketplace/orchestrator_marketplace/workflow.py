"""How a version becomes public, and ends: the states, who moves it, and by what."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final


class State(StrEnum):
    """Where a version is."""

    DRAFT = "draft"
    """Sent back: the publisher may submit it again, with other bytes."""
    CHECKS = "checks"
    """Being fetched and checked."""
    REVIEW = "review"
    """Checked; a person of the marketplace looks at it."""
    PUBLISHED = "published"
    DEPRECATED = "deprecated"
    """Still to be had, and not to be begun with."""
    WITHDRAWN = "withdrawn"
    """Not to be had; it stays known, and its version is used up."""


class Role(StrEnum):
    """Who moves a version."""

    PUBLISHER = "publisher"
    """Whose name it has."""
    OPERATOR = "operator"
    """Of the marketplace."""
    CHECKS = "checks"
    """The marketplace itself."""
    PLATFORM = "platform"
    """Which runs versions, and moves none."""


class Move(StrEnum):
    """By what a version moves."""

    SUBMIT = "submit"
    PASS = "pass"
    FAIL = "fail"
    APPROVE = "approve"
    REJECT = "reject"
    DEPRECATE = "deprecate"
    WITHDRAW = "withdraw"


MOVES: Final[Mapping[tuple[State | None, Move], tuple[State, frozenset[Role]]]] = {
    (None, Move.SUBMIT): (State.CHECKS, frozenset({Role.PUBLISHER})),
    (State.DRAFT, Move.SUBMIT): (State.CHECKS, frozenset({Role.PUBLISHER})),
    (State.CHECKS, Move.PASS): (State.REVIEW, frozenset({Role.CHECKS})),
    (State.CHECKS, Move.FAIL): (State.DRAFT, frozenset({Role.CHECKS})),
    (State.REVIEW, Move.APPROVE): (State.PUBLISHED, frozenset({Role.OPERATOR})),
    (State.REVIEW, Move.REJECT): (State.DRAFT, frozenset({Role.OPERATOR})),
    (State.PUBLISHED, Move.DEPRECATE): (State.DEPRECATED, frozenset({Role.PUBLISHER})),
    (State.PUBLISHED, Move.WITHDRAW): (State.WITHDRAWN, frozenset({Role.PUBLISHER, Role.OPERATOR})),
    (State.DEPRECATED, Move.WITHDRAW): (State.WITHDRAWN, frozenset({Role.PUBLISHER, Role.OPERATOR})),
}
"""What a move leads to, and who may make it. None is the state of a version that nobody has seen."""

PUBLIC: Final = frozenset({State.PUBLISHED, State.DEPRECATED})
"""States in which a version is to be had."""
EVER_PUBLIC: Final = PUBLIC | {State.WITHDRAWN}
"""States after which the version never has other bytes."""


def moves_from(state: State | None) -> tuple[Move, ...]:
    """Return what may move a version in a state."""
    return tuple(move for before, move in MOVES if before is state)
