"""Which version of a bundle a run has."""

from pathlib import Path

import pytest
from packaging.specifiers import SpecifierSet

from orchestrator_marketplace.names import parse_name
from orchestrator_marketplace.refusals import BundleRefused
from orchestrator_runtimes.errors import AgentError
from orchestrator_sensors.bundle_sources import BundleSource
from orchestrator_sensors.catalogue import Catalogued
from orchestrator_sensors.published_agents import chosen_reference

REPOSITORY = "registry.example/acme/reviewer"
SOURCE = BundleSource(
    name=parse_name("acme/reviewer"),
    place=REPOSITORY,
    trust=Path("trust.yaml"),
    versions=SpecifierSet(">=1"),
    framework="fake",
    inputs=frozenset(),
)


def at(version: str) -> str:
    return f"{REPOSITORY}:{version}@sha256:{'0' * 64}"


KNOWN = Catalogued(
    taken={version: at(version) for version in ("1.9.0", "1.10.0", "2.0.0")}, withdrawn=["2.0.0"]
)


@pytest.mark.parametrize(
    ("tag", "version"),
    [
        (None, "1.10.0"),
        ("", "1.10.0"),
        (at("1.9.0"), "1.9.0"),
        ("registry.example/rival/reviewer:7.0.0", "1.10.0"),
    ],
)
def test_a_run_has_what_it_names_or_the_newest(tag: str | None, version: str) -> None:
    assert str(chosen_reference(tag, KNOWN, SOURCE)) == at(version)


def test_the_place_is_where_it_was_taken_from_and_not_what_the_tag_says() -> None:
    tag = f"evil.example/acme/reviewer:1.9.0@sha256:{'1' * 64}"
    assert str(chosen_reference(tag, KNOWN, SOURCE)) == at("1.9.0")


@pytest.mark.parametrize(
    ("tag", "why"),
    [
        (at("2.0.0"), "acme/reviewer 2.0.0 is withdrawn: run 1.10.0"),
        (at("3.0.0"), "acme/reviewer 3.0.0 was not taken here; there are 1.9.0, 1.10.0, 2.0.0"),
        ("nonsense", "is no address"),
    ],
)
def test_what_was_not_taken_does_not_run(tag: str, why: str) -> None:
    with pytest.raises(BundleRefused, match=why):
        chosen_reference(tag, KNOWN, SOURCE)


def test_where_nothing_was_published_nothing_runs() -> None:
    with pytest.raises(AgentError, match="no version of acme/reviewer was published yet"):
        chosen_reference(None, Catalogued(taken={}), SOURCE)
    with pytest.raises(AgentError, match="or all are withdrawn"):
        chosen_reference(None, Catalogued(taken={"1.0.0": at("1.0.0")}, withdrawn=["1.0.0"]), SOURCE)
