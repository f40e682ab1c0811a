"""From an output back to the publish, and from a bundle to what it touched, as people ask for it."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from click.testing import CliRunner

from orchestrator_defs.cli import main
from orchestrator_runtimes.conformance.model_endpoint import ModelEndpoint
from orchestrator_runtimes.conformance.scripts import Script
from tests.integration.bundle_registries import real_registry
from tests.integration.published_bundles import Location, Publisher

pytestmark = [
    pytest.mark.usefixtures("fake_framework"),
    # Dagster's own, where YAML is read
    pytest.mark.filterwarnings("ignore:`parse_obj_as` is deprecated"),
]


@dg.asset(key=["team", "texts"])
def texts() -> str:
    return "MIT"


@dg.asset(key=["team", "report"], ins={"reviews": dg.AssetIn(key=["team", "reviews"])})
def report(reviews: Any) -> str:
    return f"all in all: {reviews}"


@dg.asset(key=["team", "weather"])
def weather() -> str:
    return "sunny"


ALL = ("team/texts", "team/reviews", "team/report", "team/weather")


@pytest.fixture
def location(
    tmp_path: Path, endpoint: ModelEndpoint, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[Location, Publisher]]:
    endpoint.reset()
    url = endpoint.script("lineage", Script())
    for folder in ("registry", "publisher", "instance"):
        (tmp_path / folder).mkdir()
    home = tmp_path / "instance"
    (home / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    monkeypatch.setenv("DAGSTER_HOME", str(home))
    with real_registry(tmp_path / "registry") as registry, dg.DagsterInstance.get() as instance:
        publisher = Publisher(tmp_path / "publisher", registry)
        given = {"text": {"asset": "team/texts"}}
        more = texts, report, weather
        yield (
            Location(publisher.trust, instance, url, *more, registry=registry, inputs=given),
            publisher,
        )


def asked(*words: str, status: int = 0) -> str:
    done = CliRunner().invoke(main, ["lineage", *words])
    assert done.exit_code == status, done.output
    return done.output


def test_an_output_leads_to_the_publish_and_a_bundle_to_its_outputs(
    location: tuple[Location, Publisher],
) -> None:
    here, publisher = location
    digest = publisher.publish("1.2.0")
    (wanted,) = here.look()
    first = here.run(wanted.tags, *ALL)
    assert first.success
    publisher.publish("1.3.0")
    (wanted,) = here.look()
    second = here.run(wanted.tags, *ALL)

    lines = asked("team/report", "--run", first.run_id).splitlines()
    assert lines[0].startswith("team/report") and f"run {first.run_id[:8]}" in lines[0]
    assert lines[1].startswith("└── team/reviews") and "by acme/reviewer 1.2.0" in lines[1]
    assert lines[2].startswith("    ├── team/bundles/acme/reviewer")
    assert f"acme/reviewer:1.2.0@{digest} of acme" in lines[2]
    assert lines[3].startswith("    └── team/texts") and len(lines) == 4
    assert "by acme/reviewer 1.3.0" in asked("team/report")

    told = json.loads(asked("team/report", "--json"))
    assert told["run"] == second.run_id and told["inputs"][0]["publisher"] == "acme"
    graph = asked("team/report", "--mermaid").splitlines()
    assert graph[0] == "flowchart LR" and len([line for line in graph if "-->" in line]) == 3

    made = [line.split()[0] for line in asked("--bundle", "acme/reviewer:1.2.0").splitlines()]
    assert made == ["team/reviews", "team/report"]
    assert len(asked("--bundle", "acme/reviewer").splitlines()) == 4
    assert asked("--bundle", "acme/reviewer:9.0.0") == "acme/reviewer:9.0.0 touched nothing here\n"


def test_what_is_not_there_is_said(location: tuple[Location, Publisher]) -> None:
    assert "the asset 'team/none' was never materialized: look at its key" in asked("team/none", status=1)
    assert "name an asset, or a bundle with --bundle" in asked(status=2)
    assert "name an asset, or a bundle with --bundle" in asked("a", "--bundle", "a/b", status=2)
