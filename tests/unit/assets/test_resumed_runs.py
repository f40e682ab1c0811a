"""What a resumed run makes: what waited, and what was passed over for it, and nothing else."""

from dataclasses import dataclass
from typing import Any

import dagster as dg
import hypothesis.strategies as st
from hypothesis import given

from orchestrator_assets.resumed_runs import config_of, resumed_assets

KEYS = [dg.AssetKey(str(n)) for n in range(7)]


@dataclass(frozen=True, kw_only=True)
class Run:
    parents: dict[dg.AssetKey, set[dg.AssetKey]]
    planned: set[dg.AssetKey]
    waiting: set[dg.AssetKey]
    made: set[dg.AssetKey]


@st.composite
def runs(draw: st.DrawFn) -> Run:
    """A graph, a part of it that a run was to make, what of it waited and what was made."""
    parents = {KEYS[0]: set[dg.AssetKey]()}
    for n, key in enumerate(KEYS[1:], start=1):
        parents[key] = draw(st.sets(st.sampled_from(KEYS[:n])))
    planned = draw(st.sets(st.sampled_from(KEYS), min_size=1))
    waiting = draw(st.sets(st.sampled_from(sorted(planned)), min_size=1))
    made = set[dg.AssetKey]()
    for key in KEYS:
        possible = key in planned - waiting and parents[key] & planned <= made
        if possible and draw(st.booleans()):
            made.add(key)
    return Run(parents=parents, planned=planned, waiting=waiting, made=made)


@given(runs())
def test_it_makes_what_waited_and_what_only_that_held_up(run: Run) -> None:
    parents, planned, waiting, made = run.parents, run.planned, run.waiting, run.made
    found = set(resumed_assets(waiting=waiting, planned=planned, made=made, parents=parents))
    assert waiting <= found <= planned
    assert not found & made
    for key in found - waiting:
        assert parents[key] & found, "it comes after one that waited"
        assert parents[key] & planned <= found | made, "the run has what it needs"
    for key in planned - made - found:
        needed = parents[key] & planned - made
        assert not needed or not needed <= found, "nothing that could be made is left out"


def test_a_run_of_fewer_ops_has_their_config_only() -> None:
    config: dict[str, Any] = {"ops": {"a": {"config": {"x": 1}}, "b": {}}, "execution": {"config": {}}}
    assert config_of(config, {"a"}) == {"ops": {"a": {"config": {"x": 1}}}, "execution": {"config": {}}}
    assert config_of({"ops": {"b": {}}}, {"a"}) == {}
