"""The laws of a circuit breaker, whatever calls come and whenever they end."""

from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from orchestrator_gateway.breakers import Breaker, Passage
from orchestrator_gateway.routes import BreakerSettings

FAILURES, OPEN_SECONDS = 3, 10.0


class Breaking(RuleBasedStateMachine):
    """A model beside the breaker: which calls are on their way, and since when nothing may pass."""

    passages = Bundle("passages")

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.breaker = Breaker(
            BreakerSettings(failures=FAILURES, open_seconds=OPEN_SECONDS), lambda: self.now
        )
        self.trial: Passage | None = None
        self.in_a_row = 0

    @rule(seconds=st.floats(0, 400))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule(target=passages)
    def a_call_comes(self) -> Passage:
        before, left = self.breaker.state, self.breaker.seconds_left()
        passage = self.breaker.enter()
        if before == "closed":
            assert passage is not None
        elif before == "half_open":
            assert passage is None, "one trial at a time"
        else:
            assert (passage is None) == (left > 0)
        if passage is not None and before != "closed":
            assert self.breaker.state == "half_open" and self.trial is None
            self.trial = passage
        return passage or Passage(-1)

    @rule(passage=consumes(passages), how=st.sampled_from(["succeeded", "failed", "abandoned", "begun"]))
    def a_call_ends(self, passage: Passage, how: str) -> None:
        before, now_is_trial = self.breaker.state, passage is self.trial
        current = now_is_trial or (before == "closed" and passage.period == self.breaker_period())
        if how == "begun":
            self.breaker.succeeded(self.breaker.begun(passage))
        else:
            getattr(self.breaker, how)(passage)
        if not current:
            assert self.breaker.state == before, "what a call of an earlier state tells changes nothing"
            return
        if now_is_trial:
            self.trial = None
            self.in_a_row = 0
            wanted = "closed" if how in ("succeeded", "begun") else "open"
            assert self.breaker.state == wanted
            if how == "failed":
                assert OPEN_SECONDS < self.breaker.seconds_left() <= 120
            if how == "abandoned":
                assert self.breaker.seconds_left() == 0, "another one may try at once"
            return
        self.in_a_row = (
            0 if how in ("succeeded", "begun") else self.in_a_row + 1 if how == "failed" else self.in_a_row
        )
        assert self.breaker.state == ("open" if self.in_a_row >= FAILURES else "closed")
        if self.in_a_row >= FAILURES:
            self.in_a_row = 0

    def breaker_period(self) -> int:
        passage = self.breaker.enter()  # only asked while it is closed: changes nothing
        assert passage is not None
        return passage.period

    @invariant()
    def half_open_is_one_call_on_its_way(self) -> None:
        assert (self.breaker.state == "half_open") == (self.trial is not None)
        assert (self.breaker.seconds_left() > 0) or self.breaker.state != "half_open"


TestBreaking = Breaking.TestCase


def state(breaker: Breaker) -> str:
    return breaker.state  # asked again each time, which a type checker does not see of a property


def failed(breaker: Breaker) -> None:
    passage = breaker.enter()
    assert passage is not None
    breaker.failed(passage)


def test_each_trial_that_fails_doubles_the_time_up_to_two_minutes() -> None:
    now = [0.0]
    breaker = Breaker(BreakerSettings(failures=1, open_seconds=5.0), lambda: now[0])
    seen: list[float] = []
    for _ in range(7):
        failed(breaker)
        seen.append(breaker.seconds_left())
        now[0] += seen[-1]
    assert seen == [5, 10, 20, 40, 80, 120, 120]
    passage = breaker.enter()
    assert passage is not None
    breaker.succeeded(passage)
    failed(breaker)
    assert breaker.seconds_left() == 5, "a success ends it"


def test_an_answer_that_began_and_is_cut_off_is_a_fault_of_the_closed_breaker() -> None:
    now = [0.0]
    breaker = Breaker(BreakerSettings(failures=2, open_seconds=5.0), lambda: now[0])
    failed(breaker)
    failed(breaker)
    now[0] = 5.0
    passage = breaker.enter()
    assert passage is not None
    going_on = breaker.begun(passage)
    assert state(breaker) == "closed"
    breaker.failed(going_on)
    assert state(breaker) == "closed"
    failed(breaker)
    assert state(breaker) == "open"
