"""What every journal must do, whichever database is below it."""

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestrator_gateway.journal import (
    Answer,
    Asked,
    Claimed,
    Journal,
    JournalLimits,
    JournalUnavailable,
    Scope,
    Superseded,
)
from orchestrator_gateway.stores import open_store
from orchestrator_gateway.tenant_keys import KeyFile
from orchestrator_runtimes.messages import Step, StepLookup, StepRecord, Usage
from tests.integration.key_files import key_file
from tests.integration.postgres_servers import PostgresServer

SCOPE = Scope(tenant="t", execution="e", agent="a")
ANSWER = Answer(
    content_type="application/json", body=b'{"a": 1}' * 1000, usage=Usage(input_tokens=3, output_tokens=2)
)
LIMITS = JournalLimits(lease_seconds=1)
WORDS = frozenset({"w1", "w2"})
Work = Callable[[Journal], Awaitable[None]]


class Store:
    """A database of one test, which journals open as gateways do."""

    def __init__(self, url: str, keys: KeyFile | None = None) -> None:
        self.url = url
        self._keys = keys
        self._requests = 0

    @asynccontextmanager
    async def _opened(self) -> AsyncGenerator[Journal]:
        store = await open_store(self.url, LIMITS, keys=self._keys)
        try:
            yield store.journal
        finally:
            await store.close()

    def opened(self) -> AbstractAsyncContextManager[Journal]:
        return self._opened()

    def do(self, work: Work) -> None:
        """Do something with a journal of its own."""

        async def scenario() -> None:
            async with self.opened() as journal:
                await work(journal)

        asyncio.run(scenario())

    def asked(
        self, exact: str, attempt: str = "first", *, loose: str | None = None, answers: int = 0
    ) -> Asked:
        """Return a call that nobody has asked for."""
        self._requests += 1
        return Asked(
            request=f"r{self._requests}", attempt=attempt, exact=exact, loose=loose or exact, answers=answers
        )

    async def answered(
        self,
        journal: Journal,
        exact: str,
        *,
        loose: str | None = None,
        scope: Scope = SCOPE,
        words: frozenset[str] = frozenset(),
        answer: Answer = ANSWER,
        answers: int = 0,
    ) -> int:
        """Make a call of the first try, and return its number."""
        asked = self.asked(exact, loose=loose, answers=answers)
        claimed = await journal.claim(scope, asked)
        assert claimed.state == "new" and claimed.number is not None
        await journal.record(scope, claimed.number, asked.request, answer, words)
        return claimed.number

    async def got(
        self, journal: Journal, exact: str, attempt: str = "second", *, loose: str | None = None
    ) -> int:
        """Return the number of the call whose answer a retry is given; 0 for none."""
        claimed = await journal.claim(SCOPE, self.asked(exact, attempt, loose=loose))
        assert claimed.number is not None
        return claimed.number if claimed.state == "answered" else 0


@pytest.fixture(params=["sqlite", "postgres", "sealed sqlite", "sealed postgres"])
def store(request: pytest.FixtureRequest, postgres: PostgresServer, tmp_path: Path) -> Store:
    keys = None
    if request.param.startswith("sealed"):
        keys = KeyFile(key_file(tmp_path / "keys.json", "t", "u"))
    if request.param.endswith("postgres"):
        return Store(postgres.database(), keys)
    return Store(str(tmp_path / "new" / "journal.db"), keys)


def test_what_is_recorded_is_there_also_for_the_next_process(store: Store) -> None:
    numbers = list[int]()

    async def write(journal: Journal) -> None:
        numbers.extend([await store.answered(journal, f"x{n}") for n in range(3)])
        assert numbers == sorted(set(numbers))

    async def read(journal: Journal) -> None:
        for n in (2, 0, 1):
            assert await store.got(journal, f"x{n}") == numbers[n]
            assert await journal.answer(SCOPE, numbers[n]) == ANSWER
        assert not await store.got(journal, "x3")

    store.do(write)
    store.do(read)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.sampled_from("abc"), max_size=6).flatmap(
        lambda made: st.tuples(st.just(made), st.permutations(made))
    )
)
def test_a_retry_in_any_order_gets_each_answer_once_and_nothing_more(
    store: Store, tried: tuple[list[str], list[str]]
) -> None:
    made, again = tried

    async def work(journal: Journal) -> None:
        await journal.forget("t", ["e"])
        numbers = [await store.answered(journal, exact) for exact in made]
        got = [await store.got(journal, exact) for exact in again]
        assert sorted(got) == numbers
        for exact in "abc":
            of_one = [number for number, own in zip(got, again, strict=True) if own == exact]
            assert of_one == [number for number, own in zip(numbers, made, strict=True) if own == exact]
            assert not await store.got(journal, exact)

    store.do(work)


def test_another_try_gets_them_again_and_a_try_never_its_own(store: Store) -> None:
    async def work(journal: Journal) -> None:
        first = await store.answered(journal, "a")
        asked = store.asked("a", "second")
        assert await journal.claim(SCOPE, asked) == Claimed(state="answered", number=first)
        made = store.asked("a", "second")
        begun = await journal.claim(SCOPE, made)
        assert begun.state == "new" and begun.number is not None
        await journal.record(SCOPE, begun.number, made.request, ANSWER, frozenset())
        assert not await store.got(journal, "a", "second")
        assert [await store.got(journal, "a", "third") for _ in range(3)] == [first, begun.number, 0]

    store.do(work)


def test_what_a_try_had_is_remembered_when_the_gateway_starts_again(store: Store) -> None:
    numbers = list[int]()

    async def write(journal: Journal) -> None:
        numbers.extend([await store.answered(journal, "a") for _ in range(3)])

    async def read(journal: Journal) -> None:
        assert await store.got(journal, "a") == numbers.pop(0)

    store.do(write)
    for _ in range(3):
        store.do(read)


def test_exactly_equal_ones_go_before_those_that_differ_in_what_was_made_up(store: Store) -> None:
    async def work(journal: Journal) -> None:
        one = await store.answered(journal, "a1", loose="A")
        two = await store.answered(journal, "a2", loose="A")
        assert await store.got(journal, "a2", loose="A") == two
        assert await store.got(journal, "a3", loose="A") == one
        assert not await store.got(journal, "a4", loose="A")

    store.do(work)


def test_a_call_that_asks_again_is_the_same_call(store: Store) -> None:
    async def work(journal: Journal) -> None:
        first = store.asked("a")
        begun = await journal.claim(SCOPE, first)
        assert begun.state == "new" and await journal.claim(SCOPE, first) == begun
        retried = store.asked("a", "second")
        waiting = Claimed(state="pending", number=begun.number)
        assert [await journal.claim(SCOPE, retried) for _ in range(2)] == [waiting, waiting]
        assert (await journal.claim(SCOPE, store.asked("a", "second"))).state == "new", "two calls of one try"
        assert begun.number is not None
        await journal.record(SCOPE, begun.number, first.request, ANSWER, frozenset())
        assert await journal.claim(SCOPE, retried) == Claimed(state="answered", number=begun.number)
        # what was sent once more for want of a word that it was written
        await journal.record(SCOPE, begun.number, first.request, ANSWER, frozenset())
        assert await store.got(journal, "a", "third") == begun.number

    store.do(work)


def test_a_call_of_one_gateway_is_waited_for_by_another_and_made_anew_when_it_came_to_nothing(
    store: Store,
) -> None:
    async def work(journal: Journal) -> None:
        first = store.asked("a")
        begun = await journal.claim(SCOPE, first)
        assert begun.number is not None
        async with store.opened() as other:
            retried = store.asked("a", "second")
            assert (await other.claim(SCOPE, retried)).state == "pending"
            with pytest.raises(KeyError):
                await other.answer(SCOPE, begun.number)
            await journal.release(SCOPE, begun.number, first.request)
            anew = await other.claim(SCOPE, retried)
            assert anew.state == "new" and anew.number != begun.number

    store.do(work)


def test_a_call_whose_gateway_gives_no_sign_of_life_is_made_by_another_and_has_one_answer(
    store: Store,
) -> None:
    async def work(journal: Journal) -> None:
        first, kept = store.asked("a"), store.asked("b")
        lost, alive = await journal.claim(SCOPE, first), await journal.claim(SCOPE, kept)
        assert lost.number is not None and alive.number is not None
        async with store.opened() as other:
            retried = store.asked("a", "second")
            until = time.monotonic() + 3 * LIMITS.lease_seconds
            while (taken := await other.claim(SCOPE, retried)).state == "pending":
                assert time.monotonic() < until
                await journal.renew([alive.number])
                await asyncio.sleep(0.05)
            assert taken.state == "new" and taken.number is not None
            assert (await other.claim(SCOPE, store.asked("b", "second"))).state == "pending"
            answer = replace(ANSWER, body=b"of another")
            await other.record(SCOPE, taken.number, retried.request, answer, frozenset())
        with pytest.raises(Superseded):
            await journal.record(SCOPE, lost.number, first.request, ANSWER, frozenset())
        assert [await store.got(journal, "a", "third") for _ in range(2)] == [taken.number, 0]
        assert (await journal.answer(SCOPE, taken.number)).body == b"of another"

    store.do(work)


def test_a_late_answer_counts_as_long_as_nobody_makes_the_call_anew(store: Store) -> None:
    async def work(journal: Journal) -> None:
        first = store.asked("a")
        begun = await journal.claim(SCOPE, first)
        assert begun.number is not None
        await asyncio.sleep(1.2 * LIMITS.lease_seconds)
        await journal.record(SCOPE, begun.number, first.request, ANSWER, frozenset())
        assert await store.got(journal, "a") == begun.number

    store.do(work)


def test_who_does_not_know_all_words_is_told_so(store: Store) -> None:
    async def work(journal: Journal) -> None:
        await store.answered(journal, "a", words=WORDS)
        await store.answered(journal, "b", answers=1)
        assert (await journal.claim(SCOPE, store.asked("a", "second"))).state == "stale"
        words = await journal.words(SCOPE)
        assert words.answers == 1 and words.digests == WORDS
        known = store.asked("a", "second", answers=words.answers)
        assert (await journal.claim(SCOPE, known)).state == "answered"

    store.do(work)


def test_tries_that_come_through_two_gateways_at_once_share_nothing_twice(store: Store) -> None:
    async def work(journal: Journal) -> None:
        async with store.opened() as other:
            begun = await asyncio.gather(
                *(store.answered(one, "a") for _ in range(40) for one in (journal, other))
            )
            assert len(set(begun)) == 80
            got = await asyncio.gather(
                *(
                    store.got(one, "a", attempt)
                    for _ in range(45)
                    for one in (journal, other)
                    for attempt in "xy"
                )
            )
        assert sorted(number for number in got if number) == sorted(2 * begun)

    store.do(work)


def test_of_two_tries_at_once_only_one_makes_a_call(store: Store) -> None:
    async def work(journal: Journal) -> None:
        async with store.opened() as other:
            for n in range(20):
                claimed = await asyncio.gather(
                    journal.claim(SCOPE, store.asked(f"x{n}", "first")),
                    other.claim(SCOPE, store.asked(f"x{n}", "second")),
                )
                assert {one.state for one in claimed} == {"new", "pending"}
                assert len({one.number for one in claimed}) == 1

    store.do(work)


def test_no_scope_sees_another(store: Store) -> None:
    async def work(journal: Journal) -> None:
        number = await store.answered(journal, "a", words=WORDS)
        for other in (replace(SCOPE, tenant="u"), replace(SCOPE, execution="f"), replace(SCOPE, agent="b")):
            assert (await journal.words(other)).answers == 0
            assert (await journal.claim(other, store.asked("a", "second"))).state == "new"
            with pytest.raises(KeyError):
                await journal.answer(other, number)
            with pytest.raises(Superseded):
                await journal.record(other, number, "r1", ANSWER, frozenset())

    store.do(work)


def test_executions_are_forgotten_with_their_steps(store: Store) -> None:
    async def work(journal: Journal) -> None:
        others = [replace(SCOPE, execution="f"), replace(SCOPE, tenant="u")]
        for scope in (SCOPE, *others):
            await store.answered(journal, "a", scope=scope, words=WORDS)
            await journal.record_step(scope.tenant, record(scope.execution, "done"))
        asked = store.asked("b", answers=1)
        begun = await journal.claim(SCOPE, asked)
        await journal.forget("t", ["e", "unknown"])
        assert [(await journal.words(scope)).answers for scope in (SCOPE, *others)] == [0, 1, 1]
        states = [
            (await journal.lookup(scope.tenant, lookup(scope.execution))).state for scope in (SCOPE, *others)
        ]
        assert states == ["new", "finished", "finished"]
        assert begun.number is not None
        with pytest.raises(Superseded):
            await journal.record(SCOPE, begun.number, asked.request, ANSWER, frozenset())

    store.do(work)


def test_old_executions_are_purged_by_tenant_and_those_that_go_on_are_not(store: Store) -> None:
    async def work(journal: Journal) -> None:
        others = [replace(SCOPE, execution="f"), replace(SCOPE, tenant="u")]
        for scope in (SCOPE, *others):
            await store.answered(journal, "a", scope=scope)
            await journal.record_step(scope.tenant, record(scope.execution, "done"))
        between = time.time()
        await store.answered(journal, "b", scope=SCOPE)
        assert await journal.purge("u", between - 60) == 0
        assert await journal.purge("u", between) == 2
        assert await journal.purge(None, between) == 3, (
            "the steps of both, and the calls of one: the other's go on"
        )
        assert await store.got(journal, "a")
        assert await journal.purge(None, time.time() + 60) == 2

    store.do(work)


def test_many_old_calls_are_purged(store: Store) -> None:
    async def work(journal: Journal) -> None:
        await asyncio.gather(*(store.answered(journal, f"x{n}") for n in range(1_200)))
        assert await journal.purge("t", time.time() + 60) == 1_200

    store.do(work)


@pytest.mark.parametrize("size", [0, 256, 3 * 2**20])
def test_an_answer_of_any_bytes_without_usage_comes_back(store: Store, size: int) -> None:
    body = (bytes(range(256)) * (size // 256 + 1))[:size]
    answer = Answer(content_type="text/event-stream; charset=utf-8", body=body)

    async def work(journal: Journal) -> None:
        number = await store.answered(journal, "a", answer=answer)
        assert await journal.answer(SCOPE, number) == answer

    store.do(work)


def lookup(execution: str = "e", *, step: str = "s", occurrence: int = 0, once: bool = False) -> StepLookup:
    return StepLookup(execution=execution, step=step, occurrence=occurrence, once=once)


def record(execution: str, result: str, *, step: str = "s", occurrence: int = 0) -> StepRecord:
    return StepRecord(execution=execution, step=step, occurrence=occurrence, result=result)


def test_a_tool_that_runs_once_is_started_once_and_its_result_comes_back(store: Store) -> None:
    async def first(journal: Journal) -> None:
        assert await journal.lookup("t", lookup()) == Step(state="new")
        assert await journal.lookup("t", lookup(once=True)) == Step(state="new")
        assert await journal.lookup("t", lookup(once=True, occurrence=1)) == Step(state="new")
        await journal.record_step("t", record("e", "done", occurrence=1))

    async def then(journal: Journal) -> None:
        assert await journal.lookup("t", lookup(once=True)) == Step(state="started")
        finished = Step(state="finished", result="done")
        assert await journal.lookup("t", lookup(once=True, occurrence=1)) == finished
        await journal.record_step("t", record("e", "late"))
        assert await journal.lookup("t", lookup(once=True)) == Step(state="finished", result="late")
        for other in (lookup("f"), lookup(step="other"), lookup(occurrence=2)):
            assert (await journal.lookup("t", other)).state == "new"
        assert (await journal.lookup("u", lookup())).state == "new"

    store.do(first)
    store.do(then)


def test_of_two_that_start_a_tool_at_once_one_may(store: Store) -> None:
    async def work(journal: Journal) -> None:
        async with store.opened() as other:
            for n in range(20):
                found = await asyncio.gather(
                    *(one.lookup("t", lookup(once=True, occurrence=n)) for one in (journal, other))
                )
                assert sorted(step.state for step in found) == ["new", "started"]

    store.do(work)


@pytest.mark.parametrize("result", ["", "\x00", "\ud800 alone", "ü" * 400_000])
def test_a_result_of_any_text_comes_back(store: Store, result: str) -> None:
    async def work(journal: Journal) -> None:
        await journal.record_step("t", record("e", result))
        assert (await journal.lookup("t", lookup())).result == result

    store.do(work)


def test_many_that_open_a_new_database_at_once_all_may(store: Store) -> None:
    async def one(n: int) -> None:
        async with store.opened() as journal:
            await store.answered(journal, f"x{n}")

    async def scenario() -> Sequence[None]:
        return await asyncio.gather(*(one(n) for n in range(8)))

    asyncio.run(scenario())

    async def check(journal: Journal) -> None:
        assert all([await store.got(journal, f"x{n}") for n in range(8)])

    store.do(check)


def test_what_makes_no_sense_as_a_limit_is_refused() -> None:
    for values in ({"retention_seconds": 0.0}, {"answer_bytes": 0}, {"lease_seconds": 0.5}):
        with pytest.raises(ValueError, match=next(iter(values))):
            JournalLimits(**values)  # pyright: ignore[reportArgumentType] -- each is of its own type


def test_a_place_that_cannot_be_opened_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "journal.db").write_bytes(b"no database" * 1000)
    for place in (tmp_path / "journal.db", tmp_path / "journal.db" / "below a file"):
        with pytest.raises(JournalUnavailable, match=r"journal\.db.*is not available"):
            asyncio.run(open_store(str(place), LIMITS))
