"""Whose a warm pod is, whatever pods, run launchers and keepers do at the same time, or are killed before they do."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from orchestrator_cluster.warm_claims import WarmClaims
from tests.unit.cluster.known_values import KnownValues

PODS = st.sampled_from(["one", "two", "three"])
RUNS = st.sampled_from(["r1", "r2", "r3", "r4"])


class Claims(RuleBasedStateMachine):
    """Everybody acts in any order; what each was told is remembered, and must never be taken back."""

    def __init__(self) -> None:
        super().__init__()
        self.claims = WarmClaims(KnownValues())
        self.offered = set[str]()
        self.turned_away = set[str]()
        self.closed = set[str]()
        self.runs = dict[str, str]()

    @rule(pod=PODS)
    def offer(self, pod: str) -> None:
        if pod in self.offered | self.turned_away:
            return  # a process offers itself once
        (self.offered if self.claims.offer("acme", pod) else self.turned_away).add(pod)

    @rule(pod=PODS, run=RUNS)
    def claim(self, pod: str, run: str) -> None:
        had = self.claims.claim("acme", pod, run)
        assert had == (pod in self.offered - self.closed - self.runs.keys())
        if had:
            self.runs[pod] = run

    @rule(pod=PODS)
    def close(self, pod: str) -> None:
        done = self.claims.close("acme", pod)
        assert done == (pod not in self.runs)
        if done:
            self.closed.add(pod)

    @rule(pod=PODS, run=RUNS)
    def claim_of_another_tenant(self, pod: str, run: str) -> None:
        assert not self.claims.claim("other", pod, run)

    @invariant()
    def nothing_is_taken_back(self) -> None:
        assert not self.closed & self.runs.keys()
        found = self.claims.of("acme")
        assert {pod: claim.run_id for pod, claim in found.items() if claim.state == "claimed"} == self.runs
        assert {pod for pod, claim in found.items() if claim.state == "closed"} == self.closed
        assert not self.turned_away - self.closed
        for pod in ("one", "two", "three"):
            assert self.claims.run_of("acme", pod) == self.runs.get(pod)
            with self.claims.reading("acme", pod) as read:
                assert read().state == found[pod].state if pod in found else "starting"


Claims.TestCase.settings = settings(max_examples=60, stateful_step_count=25)
TestClaims = Claims.TestCase


def test_who_is_between_two_steps_of_another_closes_all_the_same() -> None:
    """A pod that offers itself after the first look of who closes it is closed by the second."""

    class Late(KnownValues):
        def add(self, key: str, value: str, /) -> bool:
            if value == "closed" and key not in self.kept:
                self.kept[key] = "waiting"  # the pod was faster
            return super().add(key, value)

    claims = WarmClaims(Late())
    assert claims.close("acme", "one") and not claims.claim("acme", "one", "r1")
