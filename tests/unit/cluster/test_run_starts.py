"""How far the start of a run is, whatever launchers, pods and watches do in any order, killed or paused before."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from orchestrator_cluster.run_starts import RunStarts
from orchestrator_cluster.warm_claims import WarmClaims
from tests.unit.cluster.known_values import KnownValues

PODS = ("one", "two", "three")
RUN = "r1"


class Launcher:
    """One launch of the run, a step at a time, as `warm_launches.WarmLaunches` goes on."""

    def __init__(self, starts: RunStarts, claims: WarmClaims) -> None:
        self.starts, self.claims = starts, claims
        self.left, self.before, self.given = list(PODS), None, None
        self.done, self.makes_pod = False, False
        beginning = starts.begin(RUN)
        if beginning != "any pod":
            self.done, self.makes_pod = True, beginning == "own pod"

    left: list[str]
    before: str | None
    given: str | None

    def step(self) -> None:
        if self.given is not None:
            self.done = self.claims.claim("acme", self.given, RUN)
            self.before, self.given = self.given, None
        elif not self.left:
            self.done, self.makes_pod = True, self.starts.take_back(RUN)
        elif self.starts.give(RUN, self.left[0], self.before):
            self.given = self.left.pop(0)
        else:
            self.done = True


class Starts(RuleBasedStateMachine):
    """Any number of launchers of one run, one step at a time; a watch that takes it back; pods that take it up."""

    def __init__(self) -> None:
        super().__init__()
        values = KnownValues()
        self.starts, self.claims = RunStarts(values), WarmClaims(values)
        self.launchers = list[Launcher]()
        self.executing = set[str]()
        for pod in PODS:
            assert self.claims.offer("acme", pod)

    @rule()
    def launch(self) -> None:
        self.launchers.append(Launcher(self.starts, self.claims))

    @precondition(lambda self: any(not one.done for one in self.launchers))
    @rule(number=st.integers(0, 100))
    def go_on(self, number: int) -> None:
        going = [one for one in self.launchers if not one.done]
        going[number % len(going)].step()

    @rule(pod=st.sampled_from(PODS))
    def another_run_has_a_pod(self, pod: str) -> None:
        self.claims.claim("acme", pod, "other")

    @rule(pod=st.sampled_from(PODS))
    def take_up(self, pod: str) -> None:
        if self.claims.run_of("acme", pod) == RUN and self.starts.take_up(RUN, pod):
            self.executing.add(pod)

    @rule()
    def take_back(self) -> None:
        assert self.starts.take_back(RUN) == (not self.executing)

    @invariant()
    def it_is_executed_once(self) -> None:
        own = {"own"} if any(one.makes_pod for one in self.launchers) else set[str]()  # one name: one job
        assert len(self.executing | own) <= 1
        assert self.starts.job_of(RUN) == (next(iter(self.executing)) if self.executing else None)


Starts.TestCase.settings = settings(max_examples=200, stateful_step_count=40)
TestStarts = Starts.TestCase


def test_who_comes_second_does_nothing_until_the_start_is_taken_back() -> None:
    starts = RunStarts(KnownValues())
    assert starts.begin(RUN) == "any pod" and starts.begin(RUN) == "not ours"
    assert starts.take_back(RUN)
    assert starts.begin(RUN) == "own pod", "its job has its name: two of them make one"
    assert not starts.give(RUN, "one"), "the first goes on, and does not get it"
    starts.forget(RUN)
    assert starts.known() == [] and starts.take_back(RUN), "what nobody began nobody has taken up"
