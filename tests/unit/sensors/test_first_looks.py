"""The first look at a bundle takes the newest version alone, however many there are and however often it fails."""

from collections.abc import Mapping

import dagster as dg
import pytest

from orchestrator_marketplace import publishes as published
from orchestrator_marketplace.publishes import Look
from orchestrator_marketplace.references import parse_reference
from orchestrator_marketplace.registries import Repository
from orchestrator_marketplace.registry_errors import RegistryUnavailable
from orchestrator_sensors.catalogue import Catalogued
from orchestrator_sensors.publish_sensors import Seen, tick
from tests.unit.sensors.test_chosen_references import REPOSITORY, SOURCE

KEY = dg.AssetKey(["bundles", "acme", "reviewer"])
VERSIONS = [f"1.{number}.0" for number in range(published.MOST_AT_ONCE + 5)]


class Away:
    def look(self, seen: Mapping[str, str] | None) -> Look:
        raise RegistryUnavailable("away")


def test_where_nothing_can_be_seen_the_next_look_is_the_first() -> None:
    done = tick(SOURCE, Away(), KEY, None, Catalogued(taken={}))
    assert (done.seen, done.waiting) == (None, ("away",))
    kept = Seen(versions={"1.0.0": "d"})
    assert tick(SOURCE, Away(), KEY, kept, Catalogued(taken={})).seen == kept


def test_a_first_look_passes_over_what_is_older_and_a_later_one_over_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def tags(_repository: Repository) -> tuple[str, ...]:
        return tuple(VERSIONS)

    def manifest(_repository: Repository, tag: str) -> bytes:
        return tag.encode()

    monkeypatch.setattr(Repository, "tags", tags)
    monkeypatch.setattr(Repository, "manifest", manifest)
    places = published.RegistryPublishes(parse_reference(REPOSITORY))
    first, later = places.look(None), places.look({})
    assert [*first.older, *(one.version for one in first.publishes)] == VERSIONS
    assert len(first.publishes) == published.MOST_AT_ONCE and later.older == ()
    assert [one.version for one in later.publishes] == VERSIONS[: published.MOST_AT_ONCE]
