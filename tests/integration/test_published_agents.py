"""A publish becomes a run: pushed to a real registry, taken by the sensor, run as an asset, withdrawn."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from orchestrator_gateway.ledger import Use
from orchestrator_gateway.stores import open_store
from orchestrator_marketplace.signing_keys import write_key_pair
from orchestrator_resources.instance_state import state_folder
from orchestrator_resources.runtimes import CALLS
from orchestrator_runtimes.conformance.model_endpoint import ModelEndpoint
from orchestrator_runtimes.conformance.scripts import Script
from orchestrator_sensors.catalogue import catalogued
from orchestrator_sensors.published_agents import BUNDLE_TAG
from tests.integration.agent_materializations import failure, metadata
from tests.integration.bundle_registries import real_registry
from tests.integration.published_bundles import Location, Publisher, publisher_of_test

pytestmark = [
    pytest.mark.usefixtures("fake_framework"),
    # Dagster's own, where YAML is read
    pytest.mark.filterwarnings("ignore:`parse_obj_as` is deprecated"),
]

BUNDLE = dg.AssetKey(["team", "bundles", "acme", "reviewer"])


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with real_registry(tmp_path_factory.mktemp("registry")) as name:
        yield name


@pytest.fixture
def publisher(registry: str, tmp_path: Path) -> Publisher:
    return publisher_of_test(tmp_path, registry)


@pytest.fixture
def location(publisher: Publisher, endpoint: ModelEndpoint, tmp_path: Path) -> Iterator[Location]:
    endpoint.reset()
    url = endpoint.script("published", Script())
    (tmp_path / "instance").mkdir()
    with dg.DagsterInstance.local_temp(str(tmp_path / "instance")) as instance:
        yield Location(publisher.trust, instance, url, versions=">=1.2,<2", registry=publisher.registry)


def test_a_publish_becomes_a_run_and_the_graph_leads_back_to_it(
    location: Location, publisher: Publisher
) -> None:
    assert location.look() == [] and location.told == "nothing new is published"
    digest = publisher.publish("1.2.0")
    (asked,) = location.look()
    assert asked.run_key == f"team/reviews {asked.tags[BUNDLE_TAG].partition('/')[2]}"
    assert asked.tags[BUNDLE_TAG].endswith(f"acme/reviewer:1.2.0@{digest}")
    assert location.look() == [], "it is told once"
    result = location.run(asked.tags)
    assert result.success
    told = metadata(result, "team/reviews")
    assert (told["bundle"], told["publisher"], told["licence"]) == (
        "acme/reviewer 1.2.0",
        "acme",
        "Apache-2.0",
    )
    assert told["publish"] == asked.tags[BUNDLE_TAG]
    (use,) = uses(location.instance)
    assert (use.bundle, use.executions) == ("acme/reviewer:1.2.0", 1)
    assert use.amount.tokens == told["input_tokens"] + told["output_tokens"] and use.amount.calls == 1
    graph = location.definitions.resolve_asset_graph()
    assert BUNDLE in graph.get(dg.AssetKey(["team", "reviews"])).parent_keys
    event = location.instance.get_latest_materialization_event(BUNDLE)
    assert event is not None and event.asset_materialization is not None
    assert event.asset_materialization.metadata["digest"].value == digest


def uses(instance: dg.DagsterInstance) -> list[Use]:
    """Return what the run's gateway counted of bundles, after its execution was forgotten."""

    async def read() -> list[Use]:
        store = await open_store(str(state_folder(instance) / CALLS))
        try:
            return [use for use in await store.ledger.uses("", "9999") if use.bundle]
        finally:
            await store.close()

    return asyncio.run(read())


def test_the_newest_runs_unless_a_run_names_another(location: Location, publisher: Publisher) -> None:
    publisher.publish("1.2.0")
    (first,) = location.look()
    publisher.publish("1.3.0")
    publisher.publish("1.4.0")
    assert [one.tags[BUNDLE_TAG].split("@")[0][-5:] for one in location.look()] == ["1.3.0", "1.4.0"]
    assert metadata(location.run(), "team/reviews")["bundle"] == "acme/reviewer 1.4.0"
    assert metadata(location.run(first.tags), "team/reviews")["bundle"] == "acme/reviewer 1.2.0"


def test_the_first_look_takes_the_newest_alone(location: Location, publisher: Publisher) -> None:
    for version in ("1.2.0", "1.3.0", "2.0.0"):
        publisher.publish(version)
    (asked,) = location.look()
    assert ":1.3.0@" in asked.tags[BUNDLE_TAG], "2.0.0 is beyond what the asset allows"
    assert catalogued(location.instance, BUNDLE).newest == "1.3.0"
    assert location.look() == []


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"signed": False}, "unsigned: "),
        ({"framework": "langgraph"}, "policy: acme/reviewer 1.3.0 is for langgraph, and the asset for fake"),
        (
            {"gets": "page"},
            "policy: acme/reviewer 1.3.0 needs the input 'page': give it in the asset's `inputs`",
        ),
    ],
)
def test_what_may_not_run_is_told_and_the_one_before_goes_on(
    location: Location, publisher: Publisher, changed: dict[str, object], why: str
) -> None:
    publisher.publish("1.2.0")
    assert len(location.look()) == 1
    publisher.publish("1.3.0", **changed)  # type: ignore[arg-type]
    assert location.look() == [] and why in location.told
    assert location.look() == [] and location.told == "nothing new is published", "it is told once"
    assert metadata(location.run(), "team/reviews")["bundle"] == "acme/reviewer 1.2.0"


def test_a_version_that_comes_late_does_not_take_the_place_of_a_newer_one(
    location: Location, publisher: Publisher
) -> None:
    publisher.publish("1.3.0")
    assert len(location.look()) == 1
    publisher.publish("1.2.9")
    assert location.look() == [] and "rolled_back: acme/reviewer 1.2.9 is lower than 1.3.0" in location.told


def test_without_a_publish_a_run_says_what_to_do(location: Location) -> None:
    code, told = failure(location.run())
    assert code == "agent_not_found" and "turn on the asset's sensor" in told


def test_a_registry_that_is_away_is_asked_again(publisher: Publisher) -> None:
    with dg.DagsterInstance.local_temp() as instance:
        location = Location(publisher.trust, instance, "http://localhost:9", registry="localhost:9")
        assert location.look() == [] and "localhost:9 does not answer" in location.told


def test_who_is_trusted_no_more_runs_no_more(location: Location, publisher: Publisher) -> None:
    publisher.publish("1.2.0")
    (asked,) = location.look()
    assert location.run(asked.tags).success
    write_key_pair(publisher.trust / "other.key", publisher.trust / "other.pub")
    (publisher.trust / "trust.yaml").write_text("publishers: {acme: {keys: [other.pub]}}\n")
    code, told = failure(location.run(asked.tags))
    assert code == "agent_load_failed" and "unsigned: " in told


def test_a_version_that_is_withdrawn_runs_no_more(location: Location, publisher: Publisher) -> None:
    publisher.publish("1.2.0")
    (first,) = location.look()
    publisher.publish("1.3.0")
    (second,) = location.look()
    publisher.withdraw("1.3.0")
    assert location.look() == []
    known = catalogued(location.instance, BUNDLE)
    assert (known.newest, list(known.withdrawn)) == ("1.2.0", ["1.3.0"])
    code, told = failure(location.run(second.tags))
    assert code == "agent_load_failed" and "policy: acme/reviewer 1.3.0 is withdrawn: run 1.2.0" in told
    assert metadata(location.run(), "team/reviews")["bundle"] == "acme/reviewer 1.2.0"
    assert location.run(first.tags).success


def test_what_the_tenants_policy_does_not_allow_does_not_run(publisher: Publisher) -> None:
    policy = publisher.trust / "policies.yaml"
    policy.write_text("others: {licences: [MIT], permissions: ['*'], severity: any}\n")
    with dg.DagsterInstance.local_temp() as instance:
        url = "http://localhost:9"
        strict = Location(publisher.trust, instance, url, registry=publisher.registry, policy="policies.yaml")
        publisher.publish("1.2.0")
        assert strict.look() == [] and "policy: " in strict.told and "Apache-2.0" in strict.told
        policy.write_text("others: {licences: [MIT, Apache-2.0], permissions: ['*'], severity: any}\n")
        publisher.publish("1.2.1")
        (asked,) = strict.look()
        policy.write_text("others: {licences: [MIT], permissions: ['*'], severity: any}\n")
        code, told = failure(strict.run(asked.tags))
        assert code == "agent_load_failed" and "policy: " in told, "a policy counts for the next run"


def test_of_several_bundles_each_publish_runs_its_own_asset(
    publisher: Publisher, endpoint: ModelEndpoint, tmp_path: Path
) -> None:
    endpoint.reset()
    url = endpoint.script("several", Script())
    (tmp_path / "instance").mkdir()
    with dg.DagsterInstance.local_temp(str(tmp_path / "instance")) as instance:
        several = Location(
            publisher.trust,
            instance,
            url,
            registry=publisher.registry,
            bundles=["acme/reviewer", "acme/summarizer"],
        )
        publisher.publish("1.2.0", agent="summarizer")
        assert several.look("team__reviews__reviewer_publishes") == []
        (asked,) = several.look("team__reviews__summarizer_publishes")
        assert asked.asset_selection == [dg.AssetKey(["team", "reviews", "summarizer"])]
        result = several.run(asked.tags, "team/reviews/summarizer")
        assert metadata(result, "team/reviews/summarizer")["bundle"] == "acme/summarizer 1.2.0"
        code, told = failure(several.run(asked.tags, "team/reviews/reviewer"))
        assert code == "agent_not_found" and "no version of acme/reviewer was published yet" in told
