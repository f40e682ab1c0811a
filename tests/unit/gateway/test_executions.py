"""Which answer a call gets: each of an earlier try once, exact ones first, and never one of its own try."""

import asyncio

from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator_gateway.executions import ExecutionCalls, Pending
from orchestrator_gateway.fingerprints import Fingerprint
from orchestrator_gateway.journal import Answer, Answered, Scope
from orchestrator_gateway.refusals import Refused

SCOPE = Scope(tenant="t", execution="e", agent="a")
ANSWER = Answer(content_type="application/json", body=b"{}")


def answered(number: int, exact: str, loose: str = "", attempt: str = "first") -> Answered:
    return Answered(number=number, attempt=attempt, exact=exact, loose=loose or exact.upper())


def calls(*found: Answered) -> ExecutionCalls:
    return ExecutionCalls(SCOPE, found, frozenset())


def wanted(exact: str, loose: str = "") -> Fingerprint:
    return Fingerprint(exact=exact, loose=loose or exact.upper())


def number(found: Answered | Pending | None) -> int | None:
    assert not isinstance(found, Pending)
    return found.number if found else None


@given(
    st.lists(st.sampled_from("abc"), max_size=8).flatmap(
        lambda made: st.tuples(st.just(made), st.permutations(made))
    )
)
def test_a_retry_in_any_order_gets_each_answer_once_and_nothing_more(
    tried: tuple[list[str], list[str]],
) -> None:
    made, again = tried
    served = calls(*(answered(n, exact) for n, exact in enumerate(made, 1)))
    got = [number(served.claim("second", wanted(exact))) for exact in again]
    assert sorted(n for n in got if n is not None) == list(range(1, len(made) + 1))
    assert all(made[n - 1] == exact for n, exact in zip(got, again, strict=True) if n is not None)
    for exact in "abc":
        of_one = [n for n, own in zip(got, again, strict=True) if own == exact and n is not None]
        assert of_one == sorted(of_one), "equal calls get their answers in order"
        assert served.claim("second", wanted(exact)) is None


def test_another_try_gets_them_again_and_a_try_never_its_own() -> None:
    served = calls(answered(1, "a"), answered(2, "a", attempt="second"))
    assert [number(served.claim("third", wanted("a"))) for _ in range(3)] == [1, 2, None]
    assert [number(served.claim("second", wanted("a"))) for _ in range(2)] == [1, None]


def test_exactly_equal_ones_go_before_those_that_differ_in_what_was_made_up() -> None:
    served = calls(answered(1, "a1", "A"), answered(2, "a2", "A"))
    assert number(served.claim("second", wanted("a2", "A"))) == 2
    assert number(served.claim("second", wanted("a3", "A"))) == 1
    assert served.claim("second", wanted("a4", "A")) is None


def test_a_call_on_its_way_is_waited_for_by_the_next_try_and_counts_once() -> None:
    async def scenario() -> None:
        served = calls()
        pending = served.begin("first", wanted("a"))
        assert served.busy
        assert served.claim("first", wanted("a")) is None
        assert served.claim("second", wanted("a")) is pending
        assert served.claim("second", wanted("a")) is None
        served.end(pending, answered(1, "a"), ANSWER)
        assert await pending.answer is ANSWER
        assert served.claim("second", wanted("a")) is None, "it has had that answer"
        assert number(served.claim("third", wanted("a"))) == 1

    asyncio.run(scenario())


def test_a_call_that_came_to_nothing_is_no_answer() -> None:
    async def scenario() -> None:
        served = calls()
        pending = served.begin("first", wanted("a"))
        served.end(pending, None, Refused(503, b""))
        assert served.claim("second", wanted("a")) is None and not served.busy

    asyncio.run(scenario())


@settings(max_examples=50)
@given(st.sets(st.text(alphabet="0123456789abcdef", min_size=12, max_size=12), max_size=5))
def test_words_of_answers_become_known(words: set[str]) -> None:
    served = ExecutionCalls(
        SCOPE,
        [Answered(number=1, attempt="f", exact="a", loose="a", words=frozenset(words))],
        frozenset({"k"}),
    )
    assert served.known == words | {"k"}
