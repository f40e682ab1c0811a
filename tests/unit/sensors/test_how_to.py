"""The files that the how-to of published agents shows are taken as they stand."""

import re
from pathlib import Path

import dagster as dg
import pytest
import yaml

from orchestrator_marketplace.publishers import read_publishers
from orchestrator_marketplace.signing_keys import write_key_pair
from orchestrator_sensors import PublishedAgentComponent

PAGE = Path(__file__).parents[3] / "docs" / "how-to" / "run-a-published-agent.md"


@pytest.mark.filterwarnings("ignore:`parse_obj_as` is deprecated")  # Dagster's own
def test_what_is_shown_makes_an_asset_that_of_its_bundle_and_a_sensor(tmp_path: Path) -> None:
    component, trust, _ = re.findall(r"```yaml\n(.*?)```", PAGE.read_text(), re.DOTALL)
    (tmp_path / "trust.yaml").write_text(trust)
    write_key_pair(tmp_path / "acme.key", tmp_path / "acme.pub")
    made = PublishedAgentComponent.resolve_from_dict(yaml.safe_load(component)["attributes"]).made_in(
        tmp_path
    )
    licences = dg.Definitions(assets=[dg.AssetSpec(["raw", "licences"])])
    whole = dg.Definitions.merge(made, licences)
    keys = {key.to_user_string() for key in whole.resolve_asset_graph().get_all_asset_keys()}
    assert keys == {"team/reviews", "team/bundles/acme/reviewer", "raw/licences"}
    (sensor,) = list(made.sensors or ())
    assert isinstance(sensor, dg.SensorDefinition) and f"`{sensor.name}`" in PAGE.read_text()
    assert [name for name, _ in read_publishers(tmp_path / "trust.yaml").keys] == ["acme"]


@pytest.mark.filterwarnings("ignore:`parse_obj_as` is deprecated")  # Dagster's own
def test_several_bundles_have_the_assets_that_are_told(tmp_path: Path) -> None:
    text = PAGE.read_text()
    several = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)[2]
    (tmp_path / "trust.yaml").write_text("publishers: {}\n")
    attributes = yaml.safe_load(several)["attributes"]
    made = PublishedAgentComponent.resolve_from_dict(attributes).made_in(tmp_path)
    keys = {sensor.name.removesuffix("_publishes").replace("__", "/") for sensor in made.sensors or ()}
    assert keys == {"team/readings/reviewer", "team/readings/summarizer"}
    assert all(f"`{key}`" in text for key in keys)
