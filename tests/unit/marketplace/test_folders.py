"""A folder is a bundle when all its parts belong together; nothing of it is run to find out."""

from pathlib import Path

import pytest

from orchestrator_marketplace.folders import (
    DOCUMENTATION_BYTES,
    check_framework,
    read_folder,
    read_manifest,
)
from orchestrator_marketplace.names import parse_name
from orchestrator_marketplace.refusals import BundleRefused, Refusal
from orchestrator_marketplace.starters import write_starter
from orchestrator_runtimes.profiles import installed_frameworks
from tests.unit.marketplace.written_bundles import write_bundle


def test_a_folder_is_read_and_its_code_is_not_imported(tmp_path: Path) -> None:
    contents = read_folder(write_bundle(tmp_path))
    (case,) = contents.cases()
    assert (case.name, case.inputs, case.output) == ("one", {"text": "MIT"}, {"ok": True})


@pytest.mark.parametrize(
    ("file", "text", "said"),
    [
        ("bundle.yaml", None, "bundle.yaml: is missing"),
        ("README.md", None, "README.md: is missing"),
        ("evaluation.jsonl", None, "evaluation.jsonl: is missing"),
        ("agent/agent.py", None, "names the module 'agent'; write it as agent/agent.py"),
        ("README.md", b" \n", "README.md: is empty"),
        ("README.md", b"\xff", "README.md: is no UTF-8"),
        ("README.md", b"x" * (DOCUMENTATION_BYTES + 1), "oversized: .*README.md: longer than"),
        ("evaluation.jsonl", b"", "evaluation.jsonl: holds no case"),
        ("evaluation.jsonl", b"{", "evaluation, line 1: "),
        ("evaluation.jsonl", b'{"name": "a", "inputs": {}}', "line 1: inputs: 'text' is missing"),
        (
            "evaluation.jsonl",
            b'{"name": "a", "inputs": {"text": "x"}, "output": {"ok": 1}}',
            "output.ok: expected",
        ),
        (
            "evaluation.jsonl",
            b'{"name": "a", "inputs": {"text": ""}}\n' * 2,
            "line 2: two cases are named 'a'",
        ),
        ("evaluation.jsonl", b"{}\n" * 1_001, "oversized: evaluation: 1001 cases"),
    ],
)
def test_what_is_wrong_is_said(file: str, text: bytes | None, said: str, tmp_path: Path) -> None:
    write_bundle(tmp_path)
    (tmp_path / file).unlink()
    if text is not None:
        (tmp_path / file).write_bytes(text)
    with pytest.raises(BundleRefused, match=said) as refused:
        read_folder(tmp_path)
    assert "\n" not in refused.value.message


@pytest.mark.parametrize("file", ["bundle.yaml", "README.md", "evaluation.jsonl", "agent/agent.py"])
def test_no_file_is_read_through_a_link(file: str, tmp_path: Path) -> None:
    write_bundle(tmp_path / "folder")
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "folder" / file).unlink()
    (tmp_path / "folder" / file).symlink_to(tmp_path / "secret")
    with pytest.raises(BundleRefused) as refused:
        read_folder(tmp_path / "folder")
    assert refused.value.refusal is Refusal.LINK


def test_a_file_that_is_none_does_not_make_anyone_wait(tmp_path: Path) -> None:
    write_bundle(tmp_path)
    (tmp_path / "README.md").unlink()
    (tmp_path / "README.md").mkdir()
    with pytest.raises(BundleRefused, match="link: "):
        read_folder(tmp_path)


@pytest.mark.parametrize("framework", sorted(installed_frameworks()))
def test_a_starter_is_a_bundle_of_its_framework(framework: str, tmp_path: Path) -> None:
    profile = installed_frameworks()[framework]
    write_starter(tmp_path / "new", parse_name("acme/clock"), profile)
    contents = read_folder(tmp_path / "new")
    check_framework(contents.manifest, profile)
    assert contents.manifest.name == "acme/clock"
    with pytest.raises(BundleRefused, match="is there already"):
        write_starter(tmp_path / "new", parse_name("acme/clock"), profile)


def test_an_entrypoint_is_of_its_frameworks_kind(tmp_path: Path) -> None:
    frameworks = installed_frameworks()
    manifest = read_manifest(write_bundle(tmp_path / "a"))
    with pytest.raises(BundleRefused, match="n8n takes a file of agent/, not 'agent:build'"):
        check_framework(manifest, frameworks["n8n"])
    manifest = read_manifest(write_bundle(tmp_path / "b", entrypoint="flow.json"))
    with pytest.raises(BundleRefused, match=r"takes module:attribute, not 'flow.json'"):
        check_framework(manifest, frameworks["agno"])
    with pytest.raises(BundleRefused, match=r"names the file 'flow.json', which agent/ has not"):
        read_folder(tmp_path / "b")
