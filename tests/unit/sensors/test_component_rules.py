"""One component of several bundles: an asset, a bundle's asset and a sensor for each, and what is no such rule."""

from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster.components.resolved.errors import ResolutionException

from orchestrator_assets.spec_fields import WrongValue
from orchestrator_sensors import PublishedAgentComponent
from orchestrator_sensors.published_agent_component import MOST_BUNDLES

pytestmark = pytest.mark.filterwarnings("ignore:`parse_obj_as` is deprecated")  # Dagster's own


def component(**changes: Any) -> PublishedAgentComponent:
    attributes: dict[str, Any] = {
        "bundles": ["acme/reviewer", "acme/summarizer"],
        "registry": "registry.example",
        "trust": "trust.yaml",
        "framework": "langgraph",
        "prompt": "Review.",
        "asset": {"key": "team/reviews", "owners": ["team:reading"]},
        **changes,
    }
    given = {name: value for name, value in attributes.items() if value is not None}
    made: PublishedAgentComponent = PublishedAgentComponent.resolve_from_dict(given)
    return made


def test_each_bundle_has_an_asset_a_catalogue_and_a_sensor_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "trust.yaml").write_text("publishers: {}\n")
    made = component().made_in(tmp_path)
    graph = made.resolve_asset_graph()
    parents = {
        key.to_user_string(): {parent.to_user_string() for parent in graph.get(key).parent_keys}
        for key in graph.get_all_asset_keys()
    }
    assert parents == {
        "team/reviews/reviewer": {"team/reviews/bundles/acme/reviewer"},
        "team/reviews/summarizer": {"team/reviews/bundles/acme/summarizer"},
        "team/reviews/bundles/acme/reviewer": set(),
        "team/reviews/bundles/acme/summarizer": set(),
    }
    assert graph.get(dg.AssetKey(["team", "reviews", "summarizer"])).owners == ["team:reading"]
    assert sorted(sensor.name for sensor in made.sensors or ()) == [
        "team__reviews__reviewer_publishes",
        "team__reviews__summarizer_publishes",
    ]


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"bundle": "acme/reviewer"}, "give either bundle or bundles"),
        ({"bundles": None}, "give either bundle or bundles"),
        ({"bundles": []}, "give either bundle or bundles"),
        ({"bundles": ["acme/*"]}, "bundles.0: malformed: name: 'acme/*' must be publisher/agent"),
        ({"bundles": "acme/reviewer"}, "bundles"),
        (
            {"bundles": ["acme/reviewer", "globex/reviewer"]},
            "bundles.1: 'acme/reviewer' and 'globex/reviewer' would be one asset: write a component for each",
        ),
        ({"bundles": ["acme/reviewer"] * 2}, "'acme/reviewer' is there twice"),
        (
            {"bundles": [f"acme/a{number}" for number in range(MOST_BUNDLES + 1)]},
            "has 51 bundles, and may have 50: write another component",
        ),
        ({"registry": "http://no registry"}, "is no registry: write a host"),
    ],
)
def test_what_is_no_rule_is_refused_with_its_place(changes: dict[str, Any], why: str) -> None:
    with pytest.raises((ResolutionException, WrongValue)) as refused:
        component(**changes)
    assert why in str(refused.value)
