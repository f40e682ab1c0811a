"""YAML that is more than text, numbers, lists and mappings, or too much of them."""

import os
import time
from pathlib import Path

import pytest

from orchestrator_tenancy.managed.plain_yaml import DEPTH, DOCUMENTS, FILE_BYTES, NODES, read_documents
from orchestrator_tenancy.managed.refusals import NotManaged

BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]\n"
    for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)

REFUSED = {
    "tag that calls": ("a: !!python/object/apply:os.system ['touch called']", "x.yaml:1: has the tag"),
    "tag that names": ("a: !!python/name:os.system", "has the tag"),
    "tag of its own": ("a: !secret x", "has the tag '!secret'"),
    "standard tag": ("a: !!binary aGk=", "has the tag"),
    "tagged key": ("!!str a: 1", "has the tag"),
    "anchor": ("a: &b 1", "x.yaml:1: has an anchor"),
    "alias bomb": (BOMB, "has an anchor"),
    "alias": ("a: *b", "has an alias"),
    "merge": ("a:\n  <<: {b: 1}", "x.yaml:2: merges mappings"),
    "twice": ("a: 1\nb: 2\na: 3", "x.yaml:3: has 'a' twice"),
    "twice below": ("x: [{a: 1, a: 2}]", "has 'a' twice"),
    "key that is a list": ("? [a]\n: 1", "a list or mapping as a key"),
    "deep lists": ("a: " + "[" * 5_000 + "]" * 5_000, f"deeper than {DEPTH}"),
    "deep mappings": ("{a: " * 5_000 + "1" + "}" * 5_000, f"deeper than {DEPTH}"),
    "many values": ("a: [" + "1," * NODES + "]", f"more than {NODES} values"),
    "many documents": ("a: 1\n---\n" * (DOCUMENTS + 1), f"more than {DOCUMENTS} documents"),
    "long number": ("a: " + "9" * 10_000, "a number of more than 100 digits"),
    "long base 60": ("a: " + "1:" * 5_000 + "1", "a number of more than 100 digits"),
    "large": ("a: " + "x" * FILE_BYTES, f"above {FILE_BYTES} bytes"),
    "list": ("- a", "holds a list"),
    "text": ("just text", "holds a str"),
    "broken": ("a: [", "x.yaml:1: is no YAML"),
    "control character": ("a: \x00", "is no YAML"),
    "tab": ("a:\n\t- b", "x.yaml:2: is no YAML"),
}


@pytest.mark.parametrize(("text", "why"), REFUSED.values(), ids=REFUSED)
def test_what_is_not_plain_is_refused(
    tmp_path: Path, text: str, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "x.yaml"
    file.write_text(text)
    began = time.process_time()
    with pytest.raises(NotManaged) as error:
        read_documents(file, "x.yaml")
    assert why in str(error.value) and len(str(error.value)) < 300
    assert time.process_time() - began < 30, "a bound on the work, not a benchmark"
    assert not (tmp_path / "called").exists()


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    file = tmp_path / "x.yaml"
    file.write_bytes(b"a: \xff\xfe")
    with pytest.raises(NotManaged, match="is no UTF-8 text"):
        read_documents(file, "x.yaml")


def test_a_file_that_became_a_link_or_a_pipe_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("a: hunter2")
    (tmp_path / "link").symlink_to(tmp_path / "secret")
    os.mkfifo(tmp_path / "pipe")
    for name in ("link", "pipe", "gone"):
        with pytest.raises(NotManaged, match=rf"{name}: (cannot be read|is no file)") as error:
            read_documents(tmp_path / name, name)
        assert "hunter2" not in str(error.value)


def test_plain_documents_are_read_with_their_places(tmp_path: Path) -> None:
    file = tmp_path / "x.yaml"
    file.write_text("a: 1\nb: [x, 2.5, true, null, 2026-01-01]\n---\n---\nc: {d: '&no *alias !here <<'}\n")
    first, second = read_documents(file, "x.yaml")
    assert first.values == {"a": 1, "b": ["x", 2.5, True, None, "2026-01-01"]}
    assert second.values == {"c": {"d": "&no *alias !here <<"}}
    assert first.positions.children["b"].position.start.line == 2
