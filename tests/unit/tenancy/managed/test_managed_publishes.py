"""A managed location may run agents that others publish, from where an operator said."""

import dagster as dg
import pytest

from orchestrator_tenancy.managed.component_types import SOURCES_VARIABLE
from orchestrator_tenancy.managed.loading import managed_definitions
from orchestrator_tenancy.managed.refusals import NotManaged
from tests.unit.tenancy.managed.folders import Folder

PLACES = "registry.example/agents https://marketplace.example"
EXTERNAL = """\
---
type: orchestrator_assets.ExternalAssetsComponent
attributes: {keys: [raw/documents, raw/prices]}
"""
FIELDS = {
    "bundle": "acme/reviewer",
    "marketplace": "https://marketplace.example",
    "trust": "trust.yaml",
    "framework": "langgraph",
    "asset": "{key: reviews, deps: [raw/prices]}",
    "inputs": "{document: {asset: raw/documents}}",
}


@pytest.fixture
def published(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> Folder:
    monkeypatch.setenv(SOURCES_VARIABLE, PLACES)
    folder.write("one/trust.yaml", "publishers: {}\n")
    return folder


def write(folder: Folder, **changed: str | None) -> None:
    fields = {**FIELDS, **changed}
    body = "".join(f"  {name}: {value}\n" for name, value in fields.items() if value is not None)
    kind = "type: orchestrator_sensors.PublishedAgentComponent\nattributes:\n"
    folder.write("one/defs.yaml", f"{kind}{body}{EXTERNAL}")


def refused(folder: Folder) -> str:
    with pytest.raises(NotManaged) as error:
        managed_definitions(folder.root, "acme-labs")
    assert folder.nothing_was_imported() and "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize(
    "place",
    [{}, {"marketplace": None, "registry": "registry.example/agents"}],
    ids=["marketplace", "registry"],
)
def test_asset_bundle_and_sensor_have_the_tenants_names(
    published: Folder, place: dict[str, str | None]
) -> None:
    write(published, **place)
    definitions = managed_definitions(published.root, "acme-labs")
    loaded = definitions.get_repository_def()
    assert isinstance(loaded, dg.RepositoryDefinition)
    assert {key.to_user_string() for key in loaded.assets_defs_by_key} == {
        "acme-labs/reviews",
        "acme-labs/bundles/acme/reviewer",
        "acme-labs/raw/documents",
        "acme-labs/raw/prices",
    }
    assert [sensor.name for sensor in loaded.sensor_defs] == ["acme_labs__reviews_publishes"]
    resources = definitions.resources or {}
    assert type(resources["agent_runtimes"]).__name__ == "GuestRuntimes", "guests are not beside the run"
    assert published.nothing_was_imported()


def test_of_several_bundles_each_asset_has_the_tenants_name(published: Folder) -> None:
    write(published, bundle=None, bundles="[acme/reviewer, acme/summarizer]")
    loaded = managed_definitions(published.root, "acme-labs").get_repository_def()
    assert isinstance(loaded, dg.RepositoryDefinition)
    keys = {key.to_user_string() for key in loaded.assets_defs_by_key}
    assert keys - {"acme-labs/raw/documents", "acme-labs/raw/prices"} == {
        "acme-labs/reviews/reviewer",
        "acme-labs/reviews/summarizer",
        "acme-labs/reviews/bundles/acme/reviewer",
        "acme-labs/reviews/bundles/acme/summarizer",
    }
    assert sorted(sensor.name for sensor in loaded.sensor_defs) == [
        "acme_labs__reviews__reviewer_publishes",
        "acme_labs__reviews__summarizer_publishes",
    ]


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        (
            {"marketplace": "http://169.254.169.254"},
            "marketplace: 'http://169.254.169.254' is none that the operator named; there are"
            " registry.example/agents, https://marketplace.example",
        ),
        (
            {"marketplace": None, "registry": "registry.example"},
            "registry: 'registry.example' is none that the operator named",
        ),
        (
            {"marketplace": None, "registry": "registry.example/agents", "insecure": "true"},
            "insecure: is not for",
        ),
        ({"trust": "../trust.yaml"}, "trust: '../trust.yaml' must be there, beside this file"),
        ({"prompt": "'{{ env.SECRET }}'"}, "is a template"),
    ],
)
def test_a_place_that_nobody_named_and_files_elsewhere_are_refused(
    published: Folder, changed: dict[str, str | None], why: str
) -> None:
    write(published, **changed)
    assert why in refused(published)


def test_where_the_operator_named_no_place_there_is_none(
    published: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(SOURCES_VARIABLE)
    write(published)
    assert "there are none" in refused(published)
