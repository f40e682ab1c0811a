"""Virtual time: counted from what runs held, however often somebody looks."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator_resources.agent_needs import AgentNeed, gpus_of
from orchestrator_resources.gpus import GpuRequest
from orchestrator_tenancy.queue.runs import Capacity, StartedRun
from orchestrator_tenancy.queue.shares import Share, Shares
from orchestrator_tenancy.queue.turns import Turns, advance, cost, held, read, written
from orchestrator_tenancy.tenants import read_tenancy

WEIGHTS = {"red": 1, "blue": 4}
PLACES = Capacity(runs=10)


def going(flow: str, begin: float, end: float | None = None, gpus: int = 0) -> StartedRun:
    return StartedRun(id=f"{flow}-{begin}", flow=flow, begin=begin, end=end, gpus=gpus)


RUNS = [going("red", 0.5), going("blue", 1.0), going("blue", 2.0, 900.0)]


@given(st.lists(st.floats(1_001, 1_999), max_size=8))
def test_time_is_the_same_however_often_somebody_looked(moments: list[float]) -> None:
    begin = Turns(at=1_000.0, clock=7.0)
    runs = [*RUNS, going("red", 400.0, 1_500.0)]

    def until(turns: Turns, now: float) -> Turns:
        return advance(turns, now, runs, PLACES, WEIGHTS, {"red", "blue"})

    often = begin
    for moment in sorted(moments):
        often = until(often, moment)
    once, often = until(begin, 2_000.0), until(often, 2_000.0)
    assert once.virtual("red") == pytest.approx(7 + 1_500)
    assert once.virtual("blue") == pytest.approx(7 + 1_000 / 4)
    for flow in WEIGHTS:
        assert often.virtual(flow) == pytest.approx(once.virtual(flow))


def test_who_does_not_wait_saves_nothing_up_and_owes_nothing_of_what_nobody_wanted() -> None:
    before = Turns(at=1_000.0, clock=0.0)
    alone = advance(before, 2_000.0, RUNS, PLACES, WEIGHTS, ())
    assert alone.virtual("red") == alone.virtual("blue") == alone.clock == 1_000
    wanted = advance(before, 2_000.0, [going("red", 0.5)], PLACES, WEIGHTS, {"red"})
    begun = advance(wanted, 2_001.0, [going("red", 2_000.5)], PLACES, WEIGHTS, {"red"})
    assert begun.clock == 1_000, "a run began at that time"
    assert begun.virtual("newcomer") == 1_000


def test_what_runs_hold_counts_from_their_begin_to_their_end_within_the_span() -> None:
    runs = [
        going("red", 90.0, 105.0),
        going("red", 108.0),
        going("blue", 0.0, 50.0),
        replace(RUNS[0], begin=None),
    ]
    assert held(runs, 100.0, 110.0, PLACES) == {"red": 7.0}


def test_a_run_costs_the_larger_of_its_parts_of_places_and_of_gpus() -> None:
    assert cost(0, Capacity(runs=10, gpus=4)) == 1
    assert cost(2, Capacity(runs=10, gpus=4)) == 5
    assert cost(1, Capacity(runs=10, gpus=40)) == 1
    assert cost(3, Capacity()) == 3


def test_what_is_written_down_comes_back_and_nonsense_is_nothing() -> None:
    turns = advance(
        Turns(at=1_000.0), 2_000.0, [*RUNS, going("red", 1_999.0, gpus=2)], PLACES, WEIGHTS, {"red"}
    )
    assert turns.gpu_started("red") == 1_999.0 and turns.lately("red") > 0
    assert read(written(turns)) == turns
    for nonsense in (None, "", "{", "[]", '{"at": 1}', '{"at": "x", "clock": 1, "accounts": {}}'):
        assert read(nonsense) == Turns()


def test_agents_of_one_environment_share_its_gpus_and_others_add_theirs() -> None:
    needs = [
        AgentNeed(framework="crewai", environment="a", gpu=GpuRequest(count=2)),
        AgentNeed(framework="crewai", environment="a", gpu=GpuRequest(count=1)),
        AgentNeed(framework="agno", environment="b", gpu=GpuRequest(count=4)),
        AgentNeed(framework="agno", environment="c"),
    ]
    assert gpus_of(needs) == 6 and gpus_of([]) == 0


def test_a_tenants_locations_share_its_flow_and_others_are_flows_of_their_own() -> None:
    shares = Shares(
        read_tenancy(
            {
                "organisations": {"acme": {"title": "Acme"}},
                "plans": {"team": {"weight": 4, "quotas": {"runs": 3, "gpus": 2}}},
                "tenants": {
                    "red": {
                        "organisation": "acme",
                        "plan": "team",
                        "quotas": {"gpus": 8, "queued_runs": 9},
                        "locations": {"two": {}, "one": {}},
                    }
                },
            }
        )
    )
    assert shares.flow("one") == shares.flow("two") == "red"
    assert shares.share("red") == Share(title="the tenant 'red'", weight=4, runs=3, queued_runs=9, gpus=8)
    assert shares.locations("red", "one") == ["one", "two"]
    stranger = shares.flow("red_herring")
    assert stranger == "location red_herring" and shares.share(stranger) == Share(title=f"the {stranger}")
    assert shares.locations(stranger, "red_herring") == ["red_herring"]
    assert shares.flow(None) == "no location" and shares.locations("no location", None) == []
