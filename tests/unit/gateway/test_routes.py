"""Where a model name leads to."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator_gateway.routes import Default, Model, Route, Target, routes

FAST = Model(
    targets=(Target(upstream="a", model="small", weight=3), Target(upstream="b", model="mini")),
    fallbacks=(Target(upstream="c", model="large"), Target(upstream="a", model="large")),
)


def test_an_alias_leads_to_its_targets_and_then_to_its_fallbacks_in_order() -> None:
    found = routes({"fast": FAST}, None, "fast", "seed")
    assert {(route.upstream, route.model) for route in found[:2]} == {("a", "small"), ("b", "mini")}
    assert found[2:] == [
        Route(upstream="c", model="large", fallback=True),
        Route(upstream="a", model="large", fallback=True),
    ]


def test_a_name_that_is_no_alias_goes_to_the_default_as_it_is() -> None:
    default = Default(upstream="b", fallbacks=("c",))
    expected = [Route(upstream="b", model=None), Route(upstream="c", model=None, fallback=True)]
    assert routes({"fast": FAST}, default, "gpt-x", "seed") == expected
    assert routes({"fast": FAST}, default, None, "seed") == expected


@pytest.mark.parametrize("name", ["gpt-x", None])
def test_without_a_default_a_name_that_is_no_alias_leads_nowhere(name: str | None) -> None:
    assert routes({"fast": FAST}, None, name, "seed") == []


def test_the_first_place_is_shared_by_weight() -> None:
    first = Counter(routes({"fast": FAST}, None, "fast", f"execution-{n}")[0].upstream for n in range(4_000))
    assert 2_850 <= first["a"] <= 3_150, "three of four; seven standard deviations are 190"


weights = st.lists(st.floats(1e-3, 1e6), min_size=1, max_size=6)


@given(weights, st.text(max_size=20))
def test_every_target_is_there_once_and_the_order_only_depends_on_the_seed(
    given_weights: list[float], seed: str
) -> None:
    targets = tuple(
        Target(upstream=f"u{n}", model="m", weight=weight) for n, weight in enumerate(given_weights)
    )
    models = {"alias": Model(targets=targets)}
    found = routes(models, None, "alias", seed)
    assert sorted(route.upstream for route in found) == sorted(target.upstream for target in targets)
    assert found == routes(models, None, "alias", seed)
