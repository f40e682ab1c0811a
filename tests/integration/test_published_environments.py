"""A bundle with a runtime profile brings its environment; a signature is looked at again; publishes wait for people."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from click.testing import CliRunner

from orchestrator_defs.cli import main
from orchestrator_marketplace.oci import parse_oci_manifest
from orchestrator_marketplace.references import parse_reference
from orchestrator_marketplace.registries import Repository
from orchestrator_resources.environments import EnvironmentStore
from orchestrator_resources.homes import home_folder
from orchestrator_runtimes.conformance.model_endpoint import ModelEndpoint
from orchestrator_runtimes.conformance.scripts import Script
from orchestrator_runtimes.locks import Lock
from orchestrator_sensors.catalogue import catalogued
from orchestrator_sensors.publish_sensors import FIRST_WAIT_SECONDS
from tests.integration.agent_materializations import failure, metadata
from tests.integration.bundle_registries import real_registry
from tests.integration.published_bundles import Location, Publisher, publisher_of_test

pytestmark = [
    pytest.mark.usefixtures("fake_framework"),
    # Dagster's own, where YAML is read
    pytest.mark.filterwarnings("ignore:`parse_obj_as` is deprecated"),
]

BUNDLE = dg.AssetKey(["team", "bundles", "acme", "reviewer"])
READING = Lock(
    python="""\
roman==5.1 \\
    --hash=sha256:3a86572e9bc9183e771769601189e5fa32f1620ffeceebb9eca836affb409986 \\
    --hash=sha256:bf595d8a9bc4a8e8b1dfa23e1d4def0251b03b494786df6b8c3d3f1635ce285a
"""
)
SOURCE_ALONE = Lock(
    python="""\
docopt==0.6.2 \\
    --hash=sha256:49b3a825280bd66b3aa83585ef59c4a8c82f2c8a522dbe754a8bc8d08c85c491
"""
)
AGENT = """\
from orchestrator_runtimes.conformance.fake import FakeAgent


def build() -> FakeAgent:
    import roman

    return FakeAgent(instructions="Count.", finish=lambda _text: roman.toRoman(14))
"""


@pytest.fixture(scope="module")
def registry_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("registry")


@pytest.fixture(scope="module")
def registry(registry_folder: Path) -> Iterator[str]:
    with real_registry(registry_folder) as name:
        yield name


@pytest.fixture
def publisher(registry: str, tmp_path: Path) -> Publisher:
    return publisher_of_test(tmp_path, registry)


@pytest.fixture
def instance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dg.DagsterInstance]:
    folder = tmp_path / "instance"
    folder.mkdir()
    monkeypatch.setenv("DAGSTER_HOME", str(folder))
    with dg.DagsterInstance.local_temp(str(folder)) as made:
        yield made


@pytest.fixture
def url(endpoint: ModelEndpoint) -> str:
    endpoint.reset()
    return endpoint.script("published", Script())


def at(publisher: Publisher, instance: dg.DagsterInstance, url: str, **changes: Any) -> Location:
    return Location(publisher.trust, instance, url, registry=publisher.registry, **changes)


def orchestrator(*words: str) -> str:
    done = CliRunner().invoke(main, words)
    assert done.exit_code == 0, done.output
    return done.output


def test_an_agent_runs_in_the_environment_that_its_bundle_locks(
    publisher: Publisher, instance: dg.DagsterInstance, url: str, capfd: pytest.CaptureFixture[str]
) -> None:
    location = at(publisher, instance, url)
    publisher.publish("1.2.0", lock=READING, code=AGENT)
    (asked,) = location.look()
    result = location.run(asked.tags)
    assert result.success
    assert result.output_for_node("team__reviews") == "XIV", "roman is in the guest's environment alone"
    environment = EnvironmentStore(home_folder()).find(READING)
    assert environment is not None
    assert metadata(result, "team/reviews")["environment"] == environment.digest
    assert "installing 1 distributions" in capfd.readouterr().err, "progress is shown"
    publisher.publish("1.3.0")
    (other,) = location.look()
    told = metadata(location.run(other.tags), "team/reviews")
    assert told["bundle"] == "acme/reviewer 1.3.0" and told["environment"] != environment.digest


def test_what_would_run_code_while_it_is_installed_is_not_installed(
    publisher: Publisher, instance: dg.DagsterInstance, url: str
) -> None:
    location = at(publisher, instance, url)
    publisher.publish("1.2.0", lock=SOURCE_ALONE, code=AGENT)
    (asked,) = location.look()
    code, told = failure(location.run(asked.tags))
    assert code == "agent_load_failed" and "docopt" in told
    assert EnvironmentStore(home_folder()).find(SOURCE_ALONE) is None


def test_where_guests_are_in_containers_a_bundle_cannot_bring_an_environment(
    publisher: Publisher,
    instance: dg.DagsterInstance,
    url: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    location = at(publisher, instance, url)
    publisher.publish("1.2.0", lock=READING, code=AGENT)
    monkeypatch.setenv("ORCHESTRATOR_GUESTS", str(tmp_path))
    assert location.look() == []
    assert "needs the runtime profile 'reading.toml', and guests are in containers here" in location.told


def test_a_signature_that_ends_after_the_installation_stops_the_next_run(
    publisher: Publisher, instance: dg.DagsterInstance, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    location = at(publisher, instance, url)
    publisher.publish("1.2.0", days=1)
    (asked,) = location.look()
    assert location.run(asked.tags).success

    class Later(datetime):
        @classmethod
        def now(cls, tz: object = None) -> datetime:  # type: ignore[override]  # of what is asked here alone
            return datetime.now(UTC) + timedelta(days=2)

    monkeypatch.setattr("orchestrator_sensors.bundle_sources.datetime", Later)
    code, told = failure(location.run(asked.tags))
    assert code == "agent_load_failed" and "expired: " in told and "the signature of acme held from" in told


def test_a_publish_waits_for_a_person_and_then_runs_once(
    publisher: Publisher, instance: dg.DagsterInstance, url: str
) -> None:
    location = at(publisher, instance, url, approval=True)
    publisher.publish("1.2.0")
    assert location.look() == [] and "acme/reviewer 1.2.0 waits for the approval" in location.told
    assert catalogued(instance, BUNDLE).newest is None, "nothing runs it meanwhile"
    (record,) = instance.fetch_observations(BUNDLE, limit=5).records
    assert record.event_log_entry.asset_observation is not None
    asked = record.event_log_entry.asset_observation.metadata
    assert asked["publisher"].value == "acme"
    listed = orchestrator("approvals", "list")
    assert "acme/reviewer 1.2.0" in listed and "team/reviews" in listed
    orchestrator("approvals", "approve", "team/reviews", "--by", "anna")
    (request,) = location.look()
    assert location.look() == [] and location.run(request.tags).success
    publisher.publish("1.3.0")
    assert location.look() == []
    orchestrator("approvals", "reject", "team/reviews", "--reason", "not this one")
    assert location.look() == [] and "acme/reviewer 1.3.0 was declined: not this one" in location.told
    assert location.look() == [] and location.told == "nothing new is published", "that is final"
    assert metadata(location.run(), "team/reviews")["bundle"] == "acme/reviewer 1.2.0"


def test_a_tenants_policy_may_ask_for_a_person(
    publisher: Publisher, instance: dg.DagsterInstance, url: str
) -> None:
    policy = publisher.trust / "policies.yaml"
    policy.write_text("others: {permissions: ['*'], severity: any, approval: true}\n")
    location = at(publisher, instance, url, policy="policies.yaml")
    publisher.publish("1.2.0")
    assert location.look() == [] and "waits for the approval" in location.told


def test_a_bundle_whose_bytes_the_registry_lost_keeps_no_other_waiting(
    publisher: Publisher, instance: dg.DagsterInstance, url: str, registry_folder: Path
) -> None:
    location = at(publisher, instance, url)
    assert location.look() == []
    publisher.publish("1.2.0")
    with Repository(parse_reference(f"{publisher.registry}/acme/reviewer:1.2.0")) as repository:
        content = repository.manifest("1.2.0")
    assert content is not None
    digest = parse_oci_manifest(content).config.digest.partition(":")[2]
    (layer,) = (registry_folder / "registry").glob(
        f"**/repositories/{publisher.registry.partition('/')[2]}/acme/reviewer/_layers/sha256/{digest}"
    )
    layer.rename(layer.with_name("away"))
    publisher.publish("1.3.0")
    (asked,) = location.look()
    assert ":1.3.0@" in asked.tags["orchestrator/bundle"]
    layer.with_name("away").rename(layer)
    time.sleep(FIRST_WAIT_SECONDS)
    (late,) = location.look()
    assert ":1.2.0@" in late.tags["orchestrator/bundle"]
    assert metadata(location.run(late.tags), "team/reviews")["bundle"] == "acme/reviewer 1.2.0"
    assert metadata(location.run(), "team/reviews")["bundle"] == "acme/reviewer 1.3.0"
