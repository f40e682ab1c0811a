"""Which shapes of a location's runs are kept warm."""

from hypothesis import given
from hypothesis import strategies as st

from orchestrator_cluster.warm_shapes import WarmShape, WarmShapes, learned, shares
from orchestrator_resources.agent_needs import AgentNeed
from orchestrator_resources.gpus import GpuRequest
from tests.unit.cluster.known_values import KnownValues

PLAIN = AgentNeed(framework="langgraph", environment="0" * 64)
OTHER = AgentNeed(framework="agno", environment="1" * 64)
BIG = AgentNeed(framework="agno", environment="1" * 64, gpu=GpuRequest(count=1))


def shape(*needs: AgentNeed, repository: str = "team:7") -> WarmShape:
    return WarmShape(repository=repository, needs=needs)


def test_the_latest_comes_first_and_the_eldest_goes() -> None:
    one, two, three = shape(PLAIN), shape(OTHER), shape(PLAIN, OTHER)
    assert learned([two, one], one, 2) == (one, two)
    assert learned([two, one], three, 2) == (three, two)


def test_a_run_of_other_code_takes_the_place_of_all_that_was() -> None:
    new = shape(PLAIN, repository="team:8")
    assert learned([shape(PLAIN), shape(OTHER)], new, 5) == (new,)


def test_gpus_do_not_wait() -> None:
    assert learned([shape(PLAIN)], shape(BIG), 5) == (shape(PLAIN),)


def test_what_is_learned_is_there_for_who_comes_later() -> None:
    values = KnownValues()
    for one in (shape(PLAIN), shape(OTHER), shape(OTHER)):
        WarmShapes(values).learn("team", one, 3)
    assert WarmShapes(values).of("team") == (shape(OTHER), shape(PLAIN))
    assert WarmShapes(values).of("others") == ()


def test_what_another_version_wrote_is_learned_anew() -> None:
    values = KnownValues()
    values.add("orchestrator/warm-shapes/team", '[{"needs": ["what?"]}]')
    shapes = WarmShapes(values)
    assert shapes.of("team") == ()
    shapes.learn("team", shape(PLAIN), 3)
    assert shapes.of("team") == (shape(PLAIN),)


@given(st.integers(0, 12), st.integers(0, 20))
def test_all_places_are_given_as_evenly_as_can_be_and_first_to_the_latest(count: int, size: int) -> None:
    given_ = shares([shape(repository=str(number)) for number in range(count)], size)
    assert sum(given_) == (size if count else 0)
    assert given_ == sorted(given_, reverse=True)
    assert not given_ or max(given_) - min(given_) <= 1
