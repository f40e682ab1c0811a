"""An installed bundle is there whole or not at all, whatever is killed when; what was seen before is not forgotten."""

import json
import os
import pickle
import random
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from orchestrator_marketplace.acceptance import accept_bundle, check_name
from orchestrator_marketplace.bundle_artifacts import CODE_TYPE, Bundle, build_bundle, open_bundle
from orchestrator_marketplace.folders import read_folder
from orchestrator_marketplace.installations import Installations, installed_digest
from orchestrator_marketplace.layouts import Layout
from orchestrator_marketplace.publishers import Publishers
from orchestrator_marketplace.references import parse_reference
from orchestrator_marketplace.refusals import BundleRefused, Refusal
from orchestrator_marketplace.signatures import Signer, sign_bundle
from orchestrator_runtimes.locks import Lock
from tests.unit.marketplace.certificates import NOW, new_key
from tests.unit.marketplace.written_bundles import LOCK, built

FILES = {
    "agent/agent.py", "agent/parts/words.txt", "README.md", "evaluation.jsonl", "lock.txt", "sbom.cdx.json",
    "bundle.yaml", "bundle.digest",
}  # fmt: skip


def opened(folder: Path, **changed: str) -> Bundle:
    return open_bundle(*built(folder, LOCK, **changed))


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_a_bundle_is_installed_and_is_its_folder_form_again(tmp_path: Path) -> None:
    bundle = opened(tmp_path / "bundle")
    installations = Installations(tmp_path / "root")
    folder = installations.install(bundle)
    assert folder == tmp_path / "root" / "acme" / "reviewer" / "1.2.0"
    assert files(folder) == FILES
    assert installed_digest(folder) == bundle.digest
    lock = Lock(python=(folder / "lock.txt").read_text())
    assert build_bundle(read_folder(folder), lock, Layout(tmp_path / "again")).digest == bundle.digest
    before = folder.stat().st_ino
    assert installations.install(bundle) == folder and folder.stat().st_ino == before
    assert installations.known("acme/reviewer").highest == "1.2.0"
    assert installations.known("acme/other").highest is None


def refusal(installations: Installations, bundle: Bundle, *, lower: bool = False) -> Refusal:
    before = files(installations.root)
    with pytest.raises(BundleRefused) as refused:
        installations.install(bundle, lower=lower)
    assert files(installations.root) == before
    return refused.value.refusal


def test_what_was_seen_is_not_forgotten(tmp_path: Path) -> None:
    installations = Installations(tmp_path / "root")
    first, moved = opened(tmp_path / "a"), opened(tmp_path / "b", summary="Other")
    installations.install(first)
    assert refusal(installations, moved) is Refusal.MOVED_TAG
    installations.install(opened(tmp_path / "c", version="1.10.0"))
    lower = opened(tmp_path / "d", version="1.9.0")
    assert refusal(installations, lower) is Refusal.ROLLED_BACK
    assert refusal(installations, first) is Refusal.ROLLED_BACK, "also when it is there still"
    assert installations.install(lower, lower=True).name == "1.9.0"
    assert installations.known("acme/reviewer").highest == "1.10.0"
    assert refusal(installations, moved, lower=True) is Refusal.MOVED_TAG
    with pytest.raises(BundleRefused, match="rolled_back"):
        installations.check(lower)


def test_a_folder_that_something_else_made_is_not_taken_for_the_bundle(tmp_path: Path) -> None:
    installations = Installations(tmp_path / "root")
    bundle = opened(tmp_path / "a")
    folder = installations.install(bundle)
    (folder / "bundle.digest").write_text(f"sha256:{'0' * 64}\n")
    (tmp_path / "root" / "known-bundles.json").unlink()
    assert refusal(installations, bundle) is Refusal.MOVED_TAG


def test_it_is_remembered_until_when_a_signature_holds(tmp_path: Path) -> None:
    installations = Installations(tmp_path / "root")
    bundle = opened(tmp_path / "a")
    installations.install(bundle, until=NOW + timedelta(days=1))
    known = installations.known("acme/reviewer")
    assert known.holds("1.2.0", NOW) and not known.holds("1.2.0", NOW + timedelta(days=1))
    assert not known.holds("1.3.0", NOW), "of what is not there nothing is known"
    installations.install(bundle, until=NOW + timedelta(days=9))
    assert installations.known("acme/reviewer").holds("1.2.0", NOW + timedelta(days=8)), "it was signed again"
    installations.install(bundle)
    assert installations.known("acme/reviewer").holds("1.2.0", NOW + timedelta(days=9_999))


def test_what_was_installed_before_that_was_remembered_is_looked_at_again(tmp_path: Path) -> None:
    installations = Installations(tmp_path / "root")
    installations.install(opened(tmp_path / "a"))
    record = tmp_path / "root" / "known-bundles.json"
    told = json.loads(record.read_text())
    del told["bundles"]["acme/reviewer"]["until"]
    record.write_text(json.dumps(told))
    assert installations.known("acme/reviewer").highest == "1.2.0"
    assert not installations.known("acme/reviewer").holds("1.2.0", NOW)


@pytest.mark.parametrize("text", ["", "{", '{"bundles": {"a": {"x": 1}}}', "[]"])
def test_a_record_that_cannot_be_read_stops_everything(text: str, tmp_path: Path) -> None:
    installations = Installations(tmp_path / "root")
    bundle = opened(tmp_path / "a")
    installations.install(bundle)
    (tmp_path / "root" / "known-bundles.json").write_text(text)
    assert refusal(installations, bundle) is Refusal.MALFORMED


def test_code_that_is_refused_leaves_nothing(tmp_path: Path) -> None:
    bundle = opened(tmp_path / "a")
    hostile = replace(
        bundle,
        contents=replace(bundle.contents, code=b"x" * 1_024),
        parts={**bundle.parts, CODE_TYPE: b"x" * 1_024},
    )
    installations = Installations(tmp_path / "root")
    with pytest.raises(BundleRefused):
        installations.install(hostile)
    assert list((tmp_path / "root" / "acme" / "reviewer").iterdir()) == []


def test_a_disk_that_is_full_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = opened(tmp_path / "a")
    installations = Installations(tmp_path / "root")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        installations.install(bundle)
    assert list((tmp_path / "root" / "acme" / "reviewer").iterdir()) == []


def test_several_install_at_once(tmp_path: Path) -> None:
    bundles = [opened(tmp_path / str(n), version=f"1.2.{n}") for n in range(4)]
    installations = Installations(tmp_path / "root")

    def install(bundle: Bundle) -> Path:
        return installations.install(bundle, lower=True)

    with ThreadPoolExecutor(4) as pool:
        folders = list(pool.map(install, bundles * 3))
    assert all(files(folder) == FILES for folder in folders)
    assert installations.known("acme/reviewer").digests == {
        bundle.contents.manifest.version: bundle.digest for bundle in bundles
    }


ENDLESSLY = """\
import itertools, shutil, sys
from pathlib import Path
from orchestrator_marketplace.bundle_artifacts import BUNDLE_TYPE, open_bundle
from orchestrator_marketplace.installations import Installations
from orchestrator_marketplace.layouts import Layout
layout = Layout(Path(sys.argv[1]))
bundle = open_bundle(layout, layout.only(BUNDLE_TYPE))
installations = Installations(Path(sys.argv[2]))
print("ready", flush=True)
while True:
    folder = installations.install(bundle)
    folder.rename(folder.with_name("gone"))
    shutil.rmtree(folder.with_name("gone"))
"""


def test_a_killed_process_leaves_no_half_of_a_bundle(tmp_path: Path) -> None:
    layout, _entry = built(tmp_path / "bundle")
    root = tmp_path / "root"
    chance = random.Random(5)
    whole = 0
    for _ in range(12):
        with subprocess.Popen(
            [sys.executable, "-c", ENDLESSLY, layout.folder, root], stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout is not None and process.stdout.readline() == "ready\n"
            time.sleep(chance.uniform(0.0, 0.03))
            process.send_signal(signal.SIGKILL)
        folder = root / "acme" / "reviewer" / "1.2.0"
        if folder.exists():
            assert files(folder) == FILES
            whole += 1
        if (root / "known-bundles.json").exists():
            json.loads((root / "known-bundles.json").read_text())
    bundle = open_bundle(layout, layout.entries()[0])
    assert files(Installations(root).install(bundle)) == FILES
    left = [path.name for path in (root / "acme" / "reviewer").iterdir() if path.name.startswith(".")]
    assert left == [] and whole >= 1


def test_a_bundle_is_the_one_that_was_asked_for(tmp_path: Path) -> None:
    layout, entry = built(tmp_path / "a")
    bundle, key = open_bundle(layout, entry), new_key()
    sign_bundle(layout, bundle, Signer(key=key), NOW)
    publishers = Publishers(keys=(("acme", key.public_key()),))
    good = parse_reference("localhost/some/acme/reviewer:1.2.0")
    accepted = accept_bundle(
        layout, entry, publishers, NOW, reference=good, installations=Installations(tmp_path / "r")
    )
    assert accepted.verified.publisher == "acme" and not (tmp_path / "r").exists()
    check_name(bundle, parse_reference(f"localhost/acme/reviewer@{entry.digest}"))
    for text, expected in (
        ("localhost/evil/reviewer:1.2.0", Refusal.SQUATTED),
        ("localhost/xacme/reviewer:1.2.0", Refusal.SQUATTED),
        ("localhost/acme/reviewer/x:1.2.0", Refusal.SQUATTED),
        ("localhost/acme/reviewer:1.3.0", Refusal.MOVED_TAG),
        ("localhost/acme/reviewer:latest", Refusal.MOVED_TAG),
    ):
        with pytest.raises(BundleRefused) as refused:
            accept_bundle(layout, entry, publishers, NOW, reference=parse_reference(text))
        assert refused.value.refusal is expected


def test_a_refused_bundle_pickles(tmp_path: Path) -> None:
    error = BundleRefused(Refusal.LINK, "x", cause="y")
    again = pickle.loads(pickle.dumps(error))
    assert (again.refusal, again.message, again.cause, again.detail) == (
        Refusal.LINK, "link: x", "y", {"refusal": "link"},
    )  # fmt: skip
