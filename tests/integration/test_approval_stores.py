"""A decision stands, is never lost, and nothing runs without one: whatever comes, whichever database keeps it."""

import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import settings
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)

from orchestrator_resources.approvals import (
    NOBODY,
    QUESTION_CHARACTERS,
    REQUESTS,
    RETENTION_SECONDS,
    Approvals,
    Asker,
    Verdict,
    read_answer,
)
from orchestrator_resources.state_databases import StateDatabase
from orchestrator_resources.waiting_assets import WaitingAssets
from orchestrator_runtimes.errors import AgentError, ErrorCode
from orchestrator_runtimes.messages import ApprovalAsk
from tests.integration.postgres_servers import PostgresServer
from tests.integration.state_places import opened

SECONDS = 100.0
VERDICTS: tuple[Verdict, ...] = ("approved", "rejected")


def asker(**changes: Any) -> Asker:
    given: dict[str, Any] = {"asset": "a/b", "partition": None, "item": "one", "run": "r", "seconds": SECONDS}
    return Asker(**{**given, **changes})


def call(execution: str = "e", step: str = "s", occurrence: int = 0, **arguments: Any) -> ApprovalAsk:
    return ApprovalAsk(
        execution=execution, step=step, occurrence=occurrence, tool="order", arguments=arguments
    )


@pytest.fixture
def database(stored: str) -> Iterator[StateDatabase]:
    with opened(stored) as found:
        yield found


class Clock:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


class Decisions(RuleBasedStateMachine):
    """Guests ask again and again, people decide, time passes, processes end."""

    requests = Bundle("requests")

    def new_place(self) -> str:
        """Return a place that nobody has used."""
        raise NotImplementedError

    def __init__(self) -> None:
        super().__init__()
        self.place = self.new_place()
        self.clock = Clock()
        self.process = opened(self.place)
        self.store = Approvals(self.process.__enter__(), now=self.clock)
        self.expected: dict[str, tuple[str, str] | None] = {}
        self.until: dict[str, float] = {}
        self.calls: dict[str, ApprovalAsk] = {}

    def teardown(self) -> None:
        self.process.__exit__(None, None, None)

    def pass_by(self) -> None:
        for name, decided in self.expected.items():
            if decided is None and self.until[name] <= self.clock.now:
                self.expected[name] = ("rejected", NOBODY)

    @rule(target=requests, execution=st.sampled_from("ef"), step=st.sampled_from("st"), n=st.integers(0, 1))
    def ask(self, execution: str, step: str, n: int) -> Any:
        asked = call(execution, step, n, city="Paris")
        answer = self.store.ask(asked, asker())
        if answer.id not in self.expected:
            assert answer.state == "waiting"
            self.expected[answer.id] = None
            self.until[answer.id] = self.clock.now + SECONDS
            self.calls[answer.id] = asked
            return answer.id
        assert self.calls[answer.id] == asked, "two calls have two requests"
        decided = self.expected[answer.id]
        assert answer.state == (decided[0] if decided else "waiting")
        return multiple()  # pyright: ignore[reportUnknownVariableType]  # hypothesis' own annotation

    @rule(name=requests, verdict=st.sampled_from(VERDICTS), by=st.sampled_from(["anna", "ben"]))
    def decide(self, name: str, verdict: Verdict, by: str) -> None:
        stands = self.expected[name]
        if stands is None or stands[0] == verdict:
            decision = self.store.decide(name, verdict, by=by).decision
            self.expected[name] = stands or (verdict, by)
            assert decision is not None and (decision.verdict, decision.by) == self.expected[name]
        else:
            with pytest.raises(AgentError, match=f"was {stands[0]} by {stands[1]}") as caught:
                self.store.decide(name, verdict, by=by)
            assert caught.value.code is ErrorCode.INVALID_INPUT

    @rule(seconds=st.sampled_from([1.0, SECONDS / 2, SECONDS]))
    def wait(self, seconds: float) -> None:
        self.clock.now += seconds
        self.store.list()  # somebody looks: from now on no clock can bring back what has expired
        self.pass_by()

    @rule(seconds=st.sampled_from([1.0, SECONDS]))
    def clock_goes_back(self, seconds: float) -> None:
        self.clock.now -= seconds

    @rule()
    def process_ends(self) -> None:
        self.process.__exit__(None, None, None)
        self.process = opened(self.place)
        self.store = Approvals(self.process.__enter__(), now=self.clock)

    @rule(name=consumes(requests))
    def forget_the_name(self, name: str) -> None:
        """Nobody speaks of it any more; it must stand all the same."""

    @invariant()
    def nothing_else_is_there(self) -> None:
        self.pass_by()
        found = {r.id: r.decision and (r.decision.verdict, r.decision.by) for r in self.store.list()}
        assert found == self.expected
        waiting = {request.id for request in self.store.list(waiting=True)}
        assert waiting == {name for name, decided in self.expected.items() if decided is None}


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_decisions_stand(kind: str, tmp_path: Path, postgres: PostgresServer) -> None:
    class OfOneKind(Decisions):
        def new_place(self) -> str:
            if kind == "postgres":
                return postgres.database()
            return str(Path(tempfile.mkdtemp(dir=tmp_path), "approvals.db"))

    examples = 20 if kind == "sqlite" else 8  # each makes a database
    run_state_machine_as_test(
        OfOneKind, settings=settings(max_examples=examples, stateful_step_count=20, deadline=None)
    )


def test_of_many_that_decide_at_once_one_decides(stored: str, database: StateDatabase) -> None:
    store = Approvals(database)
    name = store.ask(call(), asker()).id

    def decide(n: int) -> str:
        with opened(stored) as own:
            try:
                Approvals(own).decide(name, VERDICTS[n % 2], by=str(n))
            except AgentError:
                return "refused"
        return VERDICTS[n % 2]

    with ThreadPoolExecutor(8) as threads:
        told = set(threads.map(decide, range(16)))
    decision = store.find(name).decision
    assert decision is not None and told == {"refused", decision.verdict}


def test_frameworks_questions_come_one_after_the_other(database: StateDatabase) -> None:
    store = Approvals(database)
    first = store.ask_native("e", {"publish": True}, asker())
    assert store.ask_native("e", {"publish": True}, asker()).id == first.id
    store.decide(first.id, "approved", by="anna", answer={"text": "yes"})
    second = store.ask_native("e", {"publish": True}, asker())
    assert second.id != first.id and second.decision is None
    stands = store.find(first.id).decision
    assert stands is not None and stands.answer == {"text": "yes"}
    with pytest.raises(AgentError, match="was approved"):
        store.decide(first.id, "approved", by="anna", answer={"text": "no"})


def test_a_request_is_found_by_part_of_its_id_and_by_its_asset(database: StateDatabase) -> None:
    store = Approvals(database)
    one = store.ask(call(), asker()).id
    assert store.find(one[:4]).id == store.find("a/b").id == one
    store.ask(call("f"), asker())
    with pytest.raises(AgentError, match="'a/b' names 2 requests; give the id of one"):
        store.find("a/b")
    for name in ("", "a", "*", "%", one[:3]):
        with pytest.raises(AgentError, match="no request"):
            store.find(name)


def test_an_execution_may_not_ask_without_end_nor_at_any_length(database: StateDatabase) -> None:
    store = Approvals(database)
    with pytest.raises(AgentError, match="characters") as caught:
        store.ask(call(text="x" * QUESTION_CHARACTERS), asker())
    assert caught.value.code is ErrorCode.LIMIT_EXCEEDED
    for n in range(REQUESTS):
        store.ask(call(occurrence=n), asker())
    with pytest.raises(AgentError, match="in a loop"):
        store.ask(call(occurrence=REQUESTS), asker())
    assert store.ask(call(occurrence=1), asker()).state == "waiting"
    assert store.ask(call("f"), asker()).state == "waiting"


def test_what_waits_is_the_latest_runs(database: StateDatabase) -> None:
    store = Approvals(database)
    one, two = (store.ask(call(step=step), asker()).id for step in "st")
    store.decide(one, "approved", by="anna")
    store.take_up(["e"], run="later")
    assert [request.id for request in store.of_run("later")] == [two]
    assert [request.id for request in store.of_run("r")] == [one]


def test_decisions_are_kept_for_a_year(database: StateDatabase) -> None:
    clock = Clock()
    store = Approvals(database, now=clock)
    name = store.ask(call(), asker()).id
    clock.now += RETENTION_SECONDS
    assert Approvals(database, now=clock).find(name).decision is not None
    clock.now += SECONDS + 1
    assert Approvals(database, now=clock).list() == []


@pytest.mark.parametrize("text", ["{", "", "nan", "yes"])
def test_an_answer_is_json(text: str) -> None:
    with pytest.raises(AgentError, match="is JSON"):
        read_answer(text)
    assert read_answer(None) is None
    assert read_answer('{"a": 1}') == {"a": 1}


def test_waiting_assets_are_known_by_asset_and_partition(database: StateDatabase) -> None:
    waiting = WaitingAssets(database)
    waiting.wait("a", None, root="r", run="r")
    waiting.wait("a", "north", root="r", run="r")
    waiting.resume("a", "north", "second")
    found = waiting.find("a", "north")
    assert found is not None and (found.root, found.run, found.resumed_by) == ("r", "r", "second")
    waiting.wait("a", "north", root="r", run="second")
    assert [(one.partition, one.run, one.resumed_by) for one in waiting.list()] == [
        ("north", "second", None),
        (None, "r", None),
    ]
    waiting.end("a", None)
    assert waiting.find("a", None) is None and len(waiting.list()) == 1


def test_who_decides_below_a_prefix_sees_no_other_requests(database: StateDatabase) -> None:
    approvals = Approvals(database)
    theirs = approvals.ask(call("theirs"), asker(asset="globex/map", run="1")).id
    near = approvals.ask(call("near"), asker(asset="acmes/map", run="2")).id
    own = approvals.ask(call("own"), asker(asset="acme/map", run="3")).id
    for name in (theirs, theirs[:6], near, "globex/map", "acmes/map"):
        with pytest.raises(AgentError, match=f"no request '{name}' waits or was decided") as error:
            approvals.decide(name, "approved", by="anna", below="acme/")
        assert error.value.code is ErrorCode.INVALID_INPUT
    assert approvals.decide("acme/map", "approved", by="anna", below="acme/").id == own
    assert {request.id for request in approvals.list(waiting=True)} == {theirs, near}
