"""The workflow: from any state only what its table says; what was public never becomes a draft again."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator_marketplace.actions import (
    ACTION_BYTES,
    Action,
    check_time,
    new_id,
    open_action,
    seal_action,
)
from orchestrator_marketplace.envelopes import seal
from orchestrator_marketplace.marketplaces import MarketplaceError, Problem, Query
from orchestrator_marketplace.workflow import EVER_PUBLIC, MOVES, PUBLIC, Move, Role, State, moves_from
from tests.unit.marketplace.certificates import NOW, new_key

ACTION = Action(
    marketplace="m",
    id=new_id(),
    at=NOW.isoformat(),
    kind="submit",
    publisher="acme",
    agent="reviewer",
    version="1.0.0",
    reference="localhost/a@sha256:0",
)


NOTHING = dict.fromkeys(("agent", "version", "reference"))
RATE: dict[str, object] = {"kind": "rate", "reference": None, "platform": "alpha", "stars": 5}
SUBSCRIBE: dict[str, object] = {**NOTHING, "kind": "subscribe", "url": "https://hooks.example/"}
RESUME: dict[str, object] = {**NOTHING, "kind": "resume", "subscription": "0" * 32}


@given(st.lists(st.sampled_from(Move), max_size=12))
def test_what_was_public_never_has_other_bytes(moves: list[Move]) -> None:
    state: State | None = None
    was_public = False
    for move in moves:
        if (state, move) in MOVES:
            state, _ = MOVES[state, move]
            assert not (was_public and state not in EVER_PUBLIC)
            was_public = was_public or state in PUBLIC


def test_each_state_is_reached_and_withdrawn_ends() -> None:
    assert {state for state, _ in MOVES.values()} == set(State)
    assert moves_from(State.WITHDRAWN) == () and moves_from(None) == (Move.SUBMIT,)
    assert {move for _, move in MOVES} == set(Move)
    assert all(
        Role.CHECKS not in roles
        for (_, move), (_, roles) in MOVES.items()
        if move not in (Move.PASS, Move.FAIL)
    )


def test_an_action_is_opened_as_it_was_sealed() -> None:
    key = new_key()
    action, envelope = open_action(seal_action(ACTION, key))
    assert (
        action == ACTION and envelope.is_of(key.public_key()) and not envelope.is_of(new_key().public_key())
    )
    with pytest.raises(MarketplaceError, match="no signed action"):
        open_action(seal(b"{}", key))
    with pytest.raises(MarketplaceError, match="at most"):
        open_action(b" " * (ACTION_BYTES + 1))


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"publisher": "No"}, "is no name"),
        ({"agent": "No"}, "is no name"),
        ({"version": "1"}, "must be three numbers"),
        ({"id": "1"}, "32 hexadecimal digits"),
        ({"key": "x"}, "takes agent, reference, version, and nothing else"),
        ({"agent": None}, "takes agent, reference, version, and nothing else"),
        ({"kind": "register"}, "takes key, and nothing else"),
        ({"reference": None}, "takes agent, reference, version"),
        ({"kind": "approve"}, "takes agent, version, and"),
        ({"reason": "x" * 501}, "at most 500 characters"),
        ({**RATE, "stars": 6}, "stars: 1 to 5"),
        ({**RATE, "platform": "acme"}, "nobody rates their own agents"),
        ({**RATE, "platform": "No"}, "platform: 'No' is no name"),
        (
            {**RATE, "url": "https://hooks.example/"},
            "takes agent, platform, stars, version, and nothing else",
        ),
        ({**SUBSCRIBE, "events": ("No",)}, "events: at most 20 kinds"),
        ({**SUBSCRIBE, "events": ("approve",) * 21}, "events: at most 20 kinds"),
        ({**SUBSCRIBE, "about": "acme/No"}, "must be PUBLISHER or PUBLISHER/AGENT"),
        ({**SUBSCRIBE, "after": 1}, "takes url, and nothing else"),
        ({**RESUME, "after": -1}, "after: a cursor"),
    ],
)
def test_actions_that_are_none(changed: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        replace(ACTION, **changed)  # type: ignore[arg-type]  # wrong on purpose


@pytest.mark.parametrize("at", ["soon", "2026-06-01", "2020-01-01T00:00:00Z"])
def test_actions_of_another_time(at: str) -> None:
    with pytest.raises(MarketplaceError) as refused:
        check_time(replace(ACTION, at=at), NOW)
    assert refused.value.problem is Problem.MALFORMED
    check_time(ACTION, NOW)


def test_a_query_has_an_end() -> None:
    with pytest.raises(ValueError, match="limit: 1 to 100"):
        Query(limit=101)
