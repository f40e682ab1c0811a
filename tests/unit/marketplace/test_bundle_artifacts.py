"""A bundle is the same digest wherever it is built, and what comes back from an artifact is checked part by part."""

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator_marketplace.bundle_artifacts import (
    BUNDLE_TYPE,
    CODE_TYPE,
    LOCK_TYPE,
    NODE_LOCK_TYPE,
    PARTS,
    SBOM_TYPE,
    build_bundle,
    open_bundle,
)
from orchestrator_marketplace.folders import read_folder
from orchestrator_marketplace.layouts import Layout
from orchestrator_marketplace.locked_packages import MOST_PACKAGES, packages_of
from orchestrator_marketplace.oci import (
    Descriptor,
    OciManifest,
    parse_index,
    parse_oci_manifest,
)
from orchestrator_marketplace.refusals import BundleRefused, Refusal
from orchestrator_runtimes.locks import Lock
from tests.unit.marketplace.written_bundles import FILES, HASH, LOCK, NODE_LOCK, built, write_bundle


def test_the_same_folder_is_the_same_digest(tmp_path: Path) -> None:
    layout, entry = built(tmp_path / "one")
    write_bundle(tmp_path / "two" / "source")
    for name in FILES:
        os.utime(tmp_path / "two" / "source" / name, (1, 1))
        (tmp_path / "two" / "source" / name).chmod(0o600)
    other = build_bundle(read_folder(tmp_path / "two" / "source"), LOCK, Layout(tmp_path / "two" / "layout"))
    assert other == entry
    for file in ("index.json", "oci-layout"):
        assert (layout.folder / file).read_bytes() == (tmp_path / "two" / "layout" / file).read_bytes()
    assert built(tmp_path / "three", version="1.2.1")[1].digest != entry.digest
    assert built(tmp_path / "four", lock=NODE_LOCK)[1].digest != entry.digest


def test_what_was_built_is_what_is_opened(tmp_path: Path) -> None:
    layout, entry = built(tmp_path, lock=NODE_LOCK)
    assert layout.only(BUNDLE_TYPE) == entry
    assert entry.annotations == {"org.opencontainers.image.ref.name": "1.2.0"}
    bundle = open_bundle(layout, entry)
    assert bundle.contents == read_folder(tmp_path / "source")
    assert [one.purl for one in bundle.packages] == [
        "pkg:pypi/idna@3.4",
        "pkg:pypi/requests@2.31.0",
        "pkg:npm/%40s/b@1.0.0",
        "pkg:npm/ws@8.17.0",
    ]
    again = build_bundle(bundle.contents, bundle.lock, Layout(tmp_path / "again"))
    assert again.digest == entry.digest


def test_a_tag_is_one_artifacts(tmp_path: Path) -> None:
    layout, first = built(tmp_path)
    write_bundle(tmp_path / "source", summary="Another")
    second = build_bundle(read_folder(tmp_path / "source"), LOCK, layout)
    assert layout.entries() == (second,) and first.digest != second.digest
    third = build_bundle(read_folder(write_bundle(tmp_path / "source", version="1.3.0")), LOCK, layout)
    assert layout.entries() == (second, third)
    with pytest.raises(BundleRefused, match="holds 2 bundles where one"):
        layout.only(BUNDLE_TYPE)
    assert Layout(tmp_path / "nowhere").entries() == ()


@pytest.mark.parametrize("kind", PARTS)
def test_changed_bytes_are_tampered(kind: str, tmp_path: Path) -> None:
    layout, entry = built(tmp_path, lock=NODE_LOCK)
    (part,) = (one for one in layout.manifest(entry).layers if one.media_type == kind)
    file = layout.blob_file(part.digest)
    content = bytearray(file.read_bytes())
    content[0] ^= 1
    file.write_bytes(content)
    with pytest.raises(BundleRefused) as refused:
        open_bundle(layout, entry)
    assert refused.value.refusal is Refusal.TAMPERED


def changed(layout: Layout, entry: Descriptor, **parts: bytes | None) -> Descriptor:
    """Return the artifact with other parts, whole in itself; None leaves one out."""
    artifact = layout.manifest(entry)
    layers: list[Descriptor] = []
    for layer in artifact.layers:
        content = parts.get(layer.media_type, layout.blob_file(layer.digest).read_bytes())
        if content is not None:
            layers.append(layout.add_blob(content, Descriptor.of(content, layer.media_type)))
    return layout.add(replace(artifact, layers=tuple(layers)).to_bytes())


@pytest.mark.parametrize(
    ("kind", "content", "said"),
    [
        (CODE_TYPE, None, "the part .*code.* is missing"),
        (CODE_TYPE, b"no tar", "the code is no tar"),
        (LOCK_TYPE, b"\xff", "the lock is no UTF-8"),
        (
            LOCK_TYPE,
            b"evil @ https://evil.example/evil.whl --hash=sha256:" + b"0" * 64,
            "is no `name==version`",
        ),
        (LOCK_TYPE, b"--index-url https://evil.example", "is no `name==version`"),
        (LOCK_TYPE, b"evil==1.0", "is no `name==version`"),
        (LOCK_TYPE, b"evil>=1.0 --hash=sha256:" + b"0" * 64, "is no `name==version`"),
        (LOCK_TYPE, b"evil==1.0 --hash=sha256:" + b"0" * 64, "does not name what the lock holds"),
        (NODE_LOCK_TYPE, b'{"packages": {"node_modules/../x": {"version": "1"}}}', "no package-lock.json"),
        (NODE_LOCK_TYPE, b"[]", "no package-lock.json"),
        (SBOM_TYPE, b'{"components": []}', "does not name what the lock holds"),
        (SBOM_TYPE, b"{}", "is no CycloneDX"),
    ],
)
def test_a_part_that_does_not_belong_is_refused(
    kind: str, content: bytes | None, said: str, tmp_path: Path
) -> None:
    layout, entry = built(tmp_path, lock=NODE_LOCK)
    with pytest.raises(BundleRefused, match=said):
        open_bundle(layout, changed(layout, entry, **{kind: content}))


def test_parts_that_are_unknown_or_too_large_are_refused_before_they_are_read(tmp_path: Path) -> None:
    layout, entry = built(tmp_path)
    artifact = layout.manifest(entry)
    shutil.rmtree(layout.folder / "blobs")
    foreign = Descriptor.of(b"x", "application/x-foreign")
    huge = replace(artifact.layers[0], size=2**40)
    for changed_layers, refusal in (
        ((*artifact.layers, foreign), Refusal.MALFORMED),
        ((*artifact.layers, artifact.layers[0]), Refusal.MALFORMED),
        ((huge, *artifact.layers[1:]), Refusal.OVERSIZED),
    ):
        with pytest.raises(BundleRefused) as refused:
            open_bundle(layout, layout.add(replace(artifact, layers=changed_layers).to_bytes()))
        assert refused.value.refusal is refusal
    with pytest.raises(BundleRefused, match="no bundle, but 'application/x-foreign'"):
        open_bundle(layout, layout.add(replace(artifact, artifact_type="application/x-foreign").to_bytes()))
    with pytest.raises(BundleRefused, match="is missing"):
        open_bundle(layout, layout.add(artifact.to_bytes()))


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
descriptors = st.builds(Descriptor.of, st.binary(max_size=20), texts, artifact_type=st.none() | texts)


@given(
    st.builds(
        OciManifest,
        artifact_type=texts,
        config=descriptors,
        layers=st.lists(descriptors, max_size=3).map(tuple),
        subject=st.none() | descriptors,
        annotations=st.dictionaries(texts, texts, max_size=3),
    )
)
def test_an_artifact_is_read_as_it_was_written(manifest: OciManifest) -> None:
    assert parse_oci_manifest(manifest.to_bytes()) == manifest


values = st.recursive(texts | st.integers(), lambda inner: st.dictionaries(texts, inner))


@given(st.binary(max_size=300) | values.map(json.dumps).map(str.encode))
def test_any_bytes_are_an_artifact_or_are_refused(content: bytes) -> None:
    for parse in (parse_oci_manifest, parse_index):
        with pytest.raises(BundleRefused):
            parse(content)


@pytest.mark.parametrize(
    "content",
    [
        b'{"schemaVersion": 2, "config": {}, "layers": []}',
        b'{"schemaVersion": 1}',
        b'{"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json"}',
        b'{"schemaVersion": 2, "config": {"mediaType": "a", "digest": "sha256:0", "size": 1}, "layers": []}',
        b'{"schemaVersion": 2, "config": {"mediaType": "a", "digest": "md5:0", "size": 1}, "layers": []}',
        b"[]",
        b" " * (2**20 + 1),
    ],
)
def test_manifests_that_are_none(content: bytes) -> None:
    with pytest.raises(BundleRefused):
        parse_oci_manifest(content)


def test_a_lock_has_a_longest_length() -> None:
    lines = (f"a{number}==1 --hash=sha256:{HASH}" for number in range(MOST_PACKAGES + 1))
    with pytest.raises(BundleRefused, match="oversized: lock: 20001 packages"):
        packages_of(Lock(python="\n".join(lines)))


def test_a_lock_without_a_line_holds_nothing(tmp_path: Path) -> None:
    assert open_bundle(*built(tmp_path, lock=Lock(python="# nothing\n"))).packages == ()
