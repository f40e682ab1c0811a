"""What the queue decides: properties that hold whatever waits and runs, and what it says about what waits."""

import random
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator_tenancy.queue.decisions import PATIENCE_SECONDS, Decision, Situation, decide
from orchestrator_tenancy.queue.runs import HEAD_START_SECONDS, Capacity, StartedRun, WaitingRun
from tests.unit.tenancy.queue_worlds import BEGIN, OpenGates, World, share, situation, waiting

FLOWS = ("red", "green", "blue", "grey")

runs = st.builds(
    waiting,
    st.sampled_from(FLOWS),
    st.integers(0, 10_000),
    since=st.floats(BEGIN - 300, BEGIN),
    gpus=st.sampled_from([0, 0, 0, 1, 2, 8]),
    priority=st.integers(-3, 3),
)
started = st.builds(
    StartedRun,
    id=st.integers(10_001, 20_000).map(str),
    flow=st.sampled_from(FLOWS),
    gpus=st.sampled_from([0, 0, 1, 2]),
    begin=st.floats(BEGIN - 500, BEGIN),
)
limits = st.none() | st.integers(0, 6)
shares = st.fixed_dictionaries(
    {
        flow: st.builds(
            share,
            st.just(flow),
            weight=st.integers(1, 10),
            suspended=st.sampled_from([False, False, False, True]),
            runs=limits,
            gpus=limits,
        )
        for flow in FLOWS
    }
)
capacities = st.builds(Capacity, runs=st.none() | st.integers(0, 12), gpus=st.none() | st.integers(0, 10))
situations = st.builds(
    situation,
    st.lists(runs, max_size=30, unique_by=lambda run: run.id),
    started=st.lists(started, max_size=6, unique_by=lambda run: run.id),
    shares=shares,
    capacity=capacities,
)


def everything(given: Situation, decision: Decision) -> list[StartedRun | WaitingRun]:
    return [*given.started, *decision.starts]


def gpus_of(given: Situation, decision: Decision, flow: str | None = None) -> int:
    return sum(run.gpus for run in everything(given, decision) if flow in (None, run.flow))


def runs_of(given: Situation, decision: Decision, flow: str | None = None) -> int:
    return sum(flow in (None, run.flow) for run in everything(given, decision))


@given(situations)
def test_no_limit_is_ever_passed_by_what_starts(given: Situation) -> None:
    decision = decide(given, OpenGates())
    total = given.capacity
    if decision.starts and total.runs is not None:
        assert runs_of(given, decision) <= total.runs
    if any(run.gpus for run in decision.starts) and total.gpus is not None:
        assert gpus_of(given, decision) <= total.gpus
    for run in decision.starts:
        mine = given.shares[run.flow]
        assert not mine.suspended
        assert mine.runs is None or runs_of(given, decision, run.flow) <= mine.runs
        assert not run.gpus or mine.gpus is None or gpus_of(given, decision, run.flow) <= mine.gpus


@given(situations)
def test_nothing_waits_that_could_start_but_for_gpus_that_are_kept_for_who_waited_long(
    given: Situation,
) -> None:
    decision = decide(given, OpenGates())
    chosen = {run.id for run in decision.starts}
    left = [run for queue in given.waiting.values() for run in queue if run.id not in chosen]
    total = given.capacity
    if total.runs is not None and runs_of(given, decision) >= total.runs:
        return
    patient = [run for run in left if run.gpus and given.now - run.since >= PATIENCE_SECONDS]
    for run in left:
        mine = given.shares[run.flow]
        full = mine.runs is not None and runs_of(given, decision, run.flow) >= mine.runs
        own = mine.gpus is not None and gpus_of(given, decision, run.flow) + run.gpus > mine.gpus
        others = total.gpus is not None and gpus_of(given, decision) + run.gpus > total.gpus
        short = run.gpus > 0 and (own or others or any(other is not run for other in patient))
        assert mine.suspended or full or short, decision.why(run)


@given(situations, st.randoms())
def test_the_same_situation_gives_the_same_decision_in_whatever_order_it_is_told(
    given: Situation, order: random.Random
) -> None:
    shuffled = list(given.started)
    order.shuffle(shuffled)
    flows = list(given.waiting)
    order.shuffle(flows)
    other = replace(given, started=shuffled, waiting={flow: given.waiting[flow] for flow in flows})
    assert decide(given, OpenGates()) == decide(other, OpenGates())


@given(situations, st.integers(0, 5))
def test_every_run_that_waits_is_told_why_and_no_more_start_than_asked(given: Situation, most: int) -> None:
    decision = decide(given, OpenGates(), most)
    assert len(decision.starts) <= most
    chosen = {run.id for run in decision.starts}
    for queue in given.waiting.values():
        assert all(decision.why(run) for run in queue if run.id not in chosen)


@settings(max_examples=12, deadline=None)
@given(
    st.integers(1, 9),
    st.lists(st.tuples(st.integers(1, 8), st.integers(1, 40)), min_size=2, max_size=4),
)
def test_over_time_flows_hold_the_platform_by_their_weights_however_long_their_runs_are(
    places: int, flows: list[tuple[int, int]]
) -> None:
    weights = {f"f{number}": weight for number, (weight, _) in enumerate(flows)}
    seconds = {f"f{number}": float(lasts) for number, (_, lasts) in enumerate(flows)}
    world = World(
        Capacity(runs=places),
        {flow: share(flow, weight=weight) for flow, weight in weights.items()},
        lambda run: seconds[run.flow],
    )
    total = 1_500
    for _ in range(total):
        for flow in weights:
            while sum(run.flow == flow for run in world.queue) < places:
                world.arrive(flow)
        world.tick()
    together = sum(weights.values())
    for flow, weight in weights.items():
        due = total * places * weight / together
        # some runs of each flow may be going that were not yet due, or others in their place
        assert abs(world.held.get(flow, 0.0) - due) <= 4 * max(seconds.values()) + 0.05 * due + places


@settings(max_examples=12, deadline=None)
@given(st.integers(1, 5), st.lists(st.integers(1, 20), min_size=1, max_size=6), st.integers(1, 20))
def test_who_comes_late_with_one_run_starts_soon_beside_endless_backlogs(
    places: int, weights: list[int], lasts: int
) -> None:
    others = {f"f{number}": share(f"f{number}", weight=weight) for number, weight in enumerate(weights)}
    world = World(Capacity(runs=places), others, lambda run: float(lasts))
    late = None
    for second in range(400):
        for flow in others:
            while sum(run.flow == flow for run in world.queue) < places:
                world.arrive(flow)
        if second == 150:
            late = world.arrive("late")
        world.tick()
    # it has saved nothing up, and owes nothing: the rounds until one of its weight is due
    rounds = 2 + (len(weights) + sum(weights)) / places
    assert late is not None and world.waits[late.id] <= lasts * rounds


def test_a_backlog_a_hundred_times_as_long_does_not_hold_up_another_tenant() -> None:
    def waits(backlog: int) -> list[float]:
        world = World(Capacity(runs=20), lasts=lambda run: 20 + run.number % 7)
        for second in range(1_000):
            if second % 100 == 0:
                for _ in range(30):
                    world.arrive("quiet")
            # of so many only the first few matter to a decision
            while backlog and sum(run.flow == "loud" for run in world.queue) < 25:
                backlog -= 1
                world.arrive("loud")
            world.tick(most=20)
        return sorted(wait for name, wait in world.waits.items() if name.startswith("quiet"))

    alone, beside = waits(0), waits(3_000)
    assert len(alone) == len(beside) == 300
    assert beside[285] <= 2 * alone[285]


def test_a_run_that_needs_all_gpus_starts_though_small_ones_never_end_coming() -> None:
    world = World(Capacity(runs=20, gpus=8), lasts=lambda run: 30.0)
    big = None
    for second in range(600):
        while sum(run.flow == "small" for run in world.queue) < 8:
            world.arrive("small", gpus=1)
        if second == 100:
            big = world.arrive("big", gpus=8)
        world.tick()
    assert big is not None and world.waits[big.id] <= PATIENCE_SECONDS + 30 + 2


def test_a_big_run_of_the_same_tenant_is_not_passed_for_ever_within_its_own_quota() -> None:
    world = World(
        Capacity(runs=20, gpus=64), {"red": share("red", gpus=4)}, lasts=lambda run: 20.0 + run.number % 9
    )
    big = None
    for second in range(600):
        while len(world.queue) < 8:
            world.arrive("red", gpus=1)
        if second == 50:
            big = world.arrive("red", gpus=4)
        world.tick()
    assert big is not None and world.waits[big.id] <= PATIENCE_SECONDS + 60


def test_tenants_with_big_runs_take_turns_by_weight_at_gpus_that_are_kept() -> None:
    weights = {"red": 3, "blue": 1}
    world = World(
        Capacity(runs=20, gpus=8),
        {flow: share(flow, weight=weight) for flow, weight in weights.items()},
        lasts=lambda run: 60.0,
    )
    for _ in range(30):
        world.arrive("red", gpus=8)
        world.arrive("blue", gpus=8)
    for _ in range(1_600):
        world.tick()
    done = {flow: sum(name.startswith(flow) for name in world.waits) for flow in weights}
    assert done["blue"] >= 4 and 2 <= done["red"] / done["blue"] <= 4


def test_gpus_are_not_kept_for_a_run_whose_tenant_may_not_have_them_now() -> None:
    world = World(Capacity(runs=20, gpus=8), {"red": share("red", gpus=4)}, lasts=lambda run: 10_000.0)
    world.arrive("red", gpus=4)
    world.tick()
    world.arrive("red", gpus=4)
    for _ in range(int(PATIENCE_SECONDS) + 5):
        world.tick()
    run = world.arrive("blue", gpus=4)
    world.tick()
    assert run.id in world.waits


def test_priority_is_a_head_start_within_a_tenant_that_others_catch_up_with() -> None:
    low = waiting("red", 1, since=BEGIN - HEAD_START_SECONDS - 1)
    high = waiting("red", 2, priority=1)
    absurd = waiting("red", 3, priority=10**9, since=BEGIN + 1)
    ancient = waiting("red", 4, since=BEGIN - 200 * HEAD_START_SECONDS)
    found = decide(situation([absurd, high, low, ancient], capacity=Capacity(runs=4)), OpenGates())
    assert [run.number for run in found.starts] == [4, 3, 1, 2]
    fresh = waiting("red", 5, since=BEGIN - HEAD_START_SECONDS + 1)
    assert [run.number for run in decide(situation([fresh, high]), OpenGates()).starts] == [2, 5]


def test_priority_gains_nothing_over_another_tenant() -> None:
    loud = [waiting("loud", number, priority=100) for number in range(10)]
    quiet = [waiting("quiet", 100 + number, since=BEGIN + 0.5) for number in range(10)]
    found = decide(situation([*loud, *quiet], capacity=Capacity(runs=10)), OpenGates())
    assert sum(run.flow == "quiet" for run in found.starts) == 5


def going(flow: str, number: int, gpus: int = 0) -> StartedRun:
    return StartedRun(id=f"going-{flow}-{number}", flow=flow, gpus=gpus, begin=BEGIN - 5)


@pytest.mark.parametrize(
    ("run", "given", "words"),
    [
        (
            waiting("red", 1),
            {"shares": {"red": share("red", suspended=True)}},
            "the tenant 'red' is suspended",
        ),
        (
            waiting("red", 1),
            {"shares": {"red": share("red", runs=1)}, "started": [going("red", 1)]},
            "the tenant 'red' has 1 of its 1 runs going",
        ),
        (
            waiting("red", 1, gpus=2),
            {"shares": {"red": share("red", gpus=1)}},
            "it needs 2 GPUs, and the tenant 'red' may have 1: it cannot start",
        ),
        (
            waiting("red", 1, gpus=2),
            {"shares": {"red": share("red", gpus=4)}, "started": [going("red", 1, gpus=3)]},
            "it needs 2 GPUs, and the tenant 'red' has 3 of its 4 in use",
        ),
        (
            waiting("red", 1, gpus=9),
            {"capacity": Capacity(gpus=8)},
            "it needs 9 GPUs, and the platform has 8: it cannot start",
        ),
        (
            waiting("red", 1, gpus=2),
            {"capacity": Capacity(gpus=8), "started": [going("blue", 1, gpus=7)]},
            "it needs 2 GPUs, and 1 are free",
        ),
        (
            waiting("red", 1),
            {"capacity": Capacity(runs=2), "started": [going("blue", 1), going("blue", 2)]},
            "all 2 places for runs are taken; the tenant 'red' has 0, its part by weight is 1.0",
        ),
    ],
)
def test_a_run_that_waits_is_told_the_limit_and_the_numbers_of_its_own_tenant(
    run: WaitingRun, given: dict[str, object], words: str
) -> None:
    decision = decide(situation([run], **given), OpenGates())  # type: ignore[arg-type]
    assert decision.starts == []
    assert decision.why(run) == words


def test_gpus_that_are_kept_are_told_without_saying_for_whom() -> None:
    big = waiting("blue", 1, gpus=8, since=BEGIN - PATIENCE_SECONDS - 5)
    small = waiting("red", 2, gpus=1)
    found = decide(
        situation([big, small], capacity=Capacity(gpus=8), started=[going("grey", 1, gpus=4)]), OpenGates()
    )
    assert found.starts == []
    assert found.why(small) == "it needs 1 GPUs, and the 4 that are free are kept for a run that waits longer"
