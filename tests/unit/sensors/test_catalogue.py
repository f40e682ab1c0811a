"""The record of a bundle: what was taken, what runs, and how much of it is kept."""

import dagster as dg
from hypothesis import given
from hypothesis import strategies as st

from orchestrator_marketplace.manifests import Manifest
from orchestrator_marketplace.names import parse_name, parse_version
from orchestrator_marketplace.publishes import Publish
from orchestrator_marketplace.references import parse_reference
from orchestrator_marketplace.strict_yaml import parse_yaml
from orchestrator_sensors.catalogue import (
    MOST_KNOWN,
    Catalogued,
    catalogue_key,
    taken_event,
    withdrawn_event,
)
from tests.unit.marketplace.written_bundles import MANIFEST

KEY = dg.AssetKey(["bundles", "acme", "reviewer"])
READ = parse_yaml(Manifest, MANIFEST.encode(), "bundle.yaml")
VERSIONS = st.builds("{}.{}.{}".format, st.integers(0, 20), st.integers(0, 20), st.integers(0, 20))


def publish(version: str) -> Publish:
    return Publish(reference=parse_reference(f"registry.example/acme/reviewer:{version}@sha256:{'0' * 64}"))


def taken(known: Catalogued, version: str) -> Catalogued:
    return taken_event(KEY, known, publish(version), READ, "acme")[0]


@given(versions=st.lists(VERSIONS, max_size=30), gone=st.lists(VERSIONS, max_size=5))
def test_the_highest_that_is_not_withdrawn_runs(versions: list[str], gone: list[str]) -> None:
    known = Catalogued(taken={})
    for version in versions:
        known = taken(known, version)
    if gone:
        known, _ = withdrawn_event(KEY, known, gone)
    left = set(versions) - set(gone)
    assert known.newest == max(left, key=parse_version, default=None)


def test_the_record_does_not_grow_without_end() -> None:
    known = Catalogued(taken={})
    for number in range(MOST_KNOWN + 50):
        known = taken(known, f"1.{number}.0")
    known, _ = withdrawn_event(KEY, known, ["1.140.0", "1.149.0"])
    known = taken(known, "1.150.0")
    assert len(known.taken) == MOST_KNOWN and known.newest == "1.150.0"
    assert list(known.withdrawn) == ["1.140.0", "1.149.0"] and "1.51.0" in known.taken


def test_it_has_the_prefix_of_what_runs_it() -> None:
    assert catalogue_key(parse_name("acme/reviewer"), dg.AssetKey(["team", "a"])).path == [
        "team",
        "bundles",
        "acme",
        "reviewer",
    ]
    assert catalogue_key(parse_name("acme/reviewer"), dg.AssetKey(["a"])) == KEY
