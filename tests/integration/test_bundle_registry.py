"""Bundles go through a real registry and come back the same; a cut-off transfer goes on where it was."""

import json
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator_marketplace.bundle_artifacts import BUNDLE_TYPE, Bundle, open_bundle
from orchestrator_marketplace.envelopes import STATEMENT_TYPE
from orchestrator_marketplace.installations import Installations
from orchestrator_marketplace.layouts import Layout
from orchestrator_marketplace.oci import INDEX, Descriptor
from orchestrator_marketplace.publishers import Publishers
from orchestrator_marketplace.pulls import pull_bundle
from orchestrator_marketplace.references import Reference, parse_reference
from orchestrator_marketplace.refusals import BundleRefused, Refusal
from orchestrator_marketplace.registries import Repository
from orchestrator_marketplace.registry_errors import RegistryDenied
from orchestrator_marketplace.signatures import Signer, sign_bundle
from orchestrator_marketplace.transfers import fetch_bundle, push_bundle
from tests.integration.bundle_registries import real_registry
from tests.unit.marketplace.certificates import NOW, new_key
from tests.unit.marketplace.written_bundles import NODE_LOCK, built

KEY = new_key()
PUBLISHERS = Publishers(keys=(("acme", KEY.public_key()),))


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with real_registry(tmp_path_factory.mktemp("registry")) as name:
        yield name


@pytest.fixture
def place(registry: str, tmp_path: Path) -> Reference:
    """Where this test's bundle is."""
    prefix = tmp_path.name.replace("_", "x").strip("x")
    return parse_reference(f"{registry}/{prefix.lower()}/acme/reviewer:1.2.0")


def signed(folder: Path, **changed: str) -> tuple[Layout, Descriptor, Bundle]:
    layout, entry = built(folder, lock=NODE_LOCK, **changed)
    bundle = open_bundle(layout, entry)
    sign_bundle(layout, bundle, Signer(key=KEY), NOW)
    return layout, entry, bundle


def test_a_bundle_goes_and_comes_back(place: Reference, tmp_path: Path) -> None:
    layout, entry, bundle = signed(tmp_path / "bundle")
    with Repository(place) as repository:
        first = push_bundle(layout, entry, repository)
        again = push_bundle(layout, entry, repository)
        assert (first.moved, first.kept) == (10, 1), "the empty description of statements goes once"
        assert (again.moved, again.kept) == (0, 11)
        assert fetch_bundle(repository, Layout(tmp_path / "fetched")).entry.digest == entry.digest
    fetched = Layout(tmp_path / "fetched")
    assert open_bundle(fetched, fetched.only(BUNDLE_TYPE)) == bundle
    assert len(fetched.referrers(entry.digest)) == 2
    with Repository(replace(place, tag=None, digest=entry.digest)) as repository:
        pulled = pull_bundle(repository, Installations(tmp_path / "root"), PUBLISHERS, NOW)
    assert pulled.accepted.bundle.digest == entry.digest and pulled.folder.name == "1.2.0"


def test_statements_are_listed_where_tools_look_for_them(place: Reference, tmp_path: Path) -> None:
    layout, entry, _bundle = signed(tmp_path / "bundle")
    with Repository(place) as repository:
        push_bundle(layout, entry, repository)
        assert {one.artifact_type for one in repository.referrers(entry.digest)} == {STATEMENT_TYPE}
    tag = entry.digest.replace(":", "-")
    url = f"http://{place.registry}/v2/{place.repository}/manifests/{tag}"
    with urllib.request.urlopen(urllib.request.Request(url, headers={"accept": INDEX}), timeout=10) as answer:
        listed = json.load(answer)["manifests"]
    assert {one["digest"] for one in listed} == {one.digest for one in layout.referrers(entry.digest)}


def test_an_upload_in_pieces_is_the_same_bytes(place: Reference, tmp_path: Path) -> None:
    layout, entry, _bundle = signed(tmp_path / "bundle")
    with Repository(place, chunk_bytes=1_000) as repository:
        push_bundle(layout, entry, repository)
        fetched = Layout(tmp_path / "fetched")
        open_bundle(fetched, fetch_bundle(repository, fetched).entry)


def test_a_version_is_not_replaced(place: Reference, tmp_path: Path) -> None:
    layout, entry, _ = signed(tmp_path / "one")
    other_layout, other, _ = signed(tmp_path / "two", summary="Another")
    with Repository(place) as repository:
        push_bundle(layout, entry, repository)
        with pytest.raises(BundleRefused) as refused:
            push_bundle(other_layout, other, repository)
        assert refused.value.refusal is Refusal.MOVED_TAG
        # somebody who may write to the registry does it all the same
        with Repository(replace(place, tag=None)) as anywhere:
            push_bundle(other_layout, other, anywhere)
        pull_bundle(repository, Installations(tmp_path / "root"), PUBLISHERS, NOW)
        repository.put_manifest(other_layout.blob(other, other.size), "1.2.0")
        with pytest.raises(BundleRefused) as refused:
            pull_bundle(repository, Installations(tmp_path / "root"), PUBLISHERS, NOW)
        assert refused.value.refusal is Refusal.MOVED_TAG


def test_an_unsigned_bundle_leaves_nothing(place: Reference, tmp_path: Path) -> None:
    layout, entry = built(tmp_path / "bundle")
    with Repository(place) as repository:
        push_bundle(layout, entry, repository)
        with pytest.raises(BundleRefused, match="unsigned"):
            pull_bundle(repository, Installations(tmp_path / "root"), PUBLISHERS, NOW)
    left = [path for path in (tmp_path / "root").rglob("*") if path.is_file() and path.suffix != ".lock"]
    assert left == []


def test_what_a_policy_refuses_leaves_nothing(place: Reference, tmp_path: Path) -> None:
    layout, entry, _ = signed(tmp_path / "bundle")

    def refuse(_accepted: object) -> None:
        raise BundleRefused(Refusal.POLICY, "no")

    with Repository(place) as repository:
        push_bundle(layout, entry, repository)
        with pytest.raises(BundleRefused, match="policy"):
            pull_bundle(repository, Installations(tmp_path / "root"), PUBLISHERS, NOW, decide=refuse)
    assert [path.name for path in (tmp_path / "root").iterdir()] == [".fetching"]


def test_what_came_does_not_come_again(place: Reference, tmp_path: Path) -> None:
    layout, entry, _ = signed(tmp_path / "bundle")
    with Repository(place) as repository:
        push_bundle(layout, entry, repository)
        fetched = Layout(tmp_path / "fetched")
        code = layout.manifest(entry).layers[0]
        part = fetched.blob_file(code.digest)
        part.parent.mkdir(parents=True)
        part.with_name(f"{part.name}.part").write_bytes(layout.blob_file(code.digest).read_bytes()[:5_000])
        assert fetch_bundle(repository, fetched).moved == 10
        assert fetch_bundle(repository, fetched).moved == 0
        assert open_bundle(fetched, fetched.only(BUNDLE_TYPE)).digest == entry.digest


def test_what_is_not_there_is_said(place: Reference, tmp_path: Path) -> None:
    with Repository(replace(place, tag="9.9.9")) as repository:
        with pytest.raises(RegistryDenied, match=r"9\.9\.9: there is none"):
            fetch_bundle(repository, Layout(tmp_path / "fetched"))
        assert repository.referrers(f"sha256:{'0' * 64}") == ()
        with pytest.raises(RegistryDenied, match="answers 404 to GET"):
            repository.download(Descriptor.of(b"nothing", "x/y"), tmp_path / "file")
