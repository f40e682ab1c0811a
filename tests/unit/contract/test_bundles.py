"""The same files are the same bytes anywhere, and a hostile archive leaves nothing behind."""

import contextlib
import gzip
import hashlib
import io
import os
import random
import shutil
import tarfile
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestrator_runtimes import bundles
from orchestrator_runtimes.errors import AgentError, ErrorCode

names = st.text(alphabet="ab.é _-", min_size=1, max_size=6).filter(lambda name: name.strip(". ") != "")
trees = st.dictionaries(
    st.lists(names, min_size=1, max_size=3).map(tuple), st.binary(max_size=200) | st.just(b"x" * 5_000), max_size=6
).filter(lambda tree: not any(one != two and two[: len(one)] == one for one in tree for two in tree))  # fmt: skip


def write(folder: Path, tree: Mapping[tuple[str, ...], bytes], order: int = 0) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    entries = list(tree.items())
    random.Random(order).shuffle(entries)
    for parts, content in entries:
        path = folder.joinpath(*parts)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder


def read(folder: Path) -> dict[tuple[str, ...], bytes]:
    return {path.relative_to(folder).parts: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def archive(*entries: tuple[tarfile.TarInfo, bytes], mode: int = tarfile.PAX_FORMAT) -> tuple[bytes, str]:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=mode) as tar:
        for entry, content in entries:
            entry.size = entry.size or len(content)
            tar.addfile(entry, io.BytesIO(content))
    return gzip.compress(buffer.getvalue()), hashlib.sha256(buffer.getvalue()).hexdigest()


def entry(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    made.type = kind
    made.linkname = link
    return made


def refused(packed: bytes, digest: str, folder: Path) -> str:
    """Unpack, which must fail, and make sure that nothing is there afterwards."""
    with pytest.raises(AgentError) as caught:
        bundles.unpack(packed, digest, folder / "bundles" / "target")
    assert caught.value.code is ErrorCode.AGENT_LOAD_FAILED
    left = [path for path in folder.rglob("*") if path.name != "bundles"]
    assert left == []
    return str(caught.value)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(tree=trees, order=st.integers(0, 3))
def test_the_same_files_are_the_same_bytes_and_come_back(
    tmp_path: Path, tree: dict[tuple[str, ...], bytes], order: int
) -> None:
    one, two = write(tmp_path / "one", tree), write(tmp_path / "elsewhere" / "two", tree, order)
    for path in two.rglob("*"):
        os.utime(path, (1, 1))
    digest, packed = bundles.pack(one)
    assert bundles.pack(two) == (digest, packed)
    target = tmp_path / "target"
    shutil.rmtree(target, ignore_errors=True)
    bundles.unpack(packed, digest, target)
    assert read(target) == read(one)
    assert bundles.pack(target) == (digest, packed)


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(tree=trees.filter(bool), data=st.data())
def test_any_change_is_another_digest(
    tmp_path: Path, tree: dict[tuple[str, ...], bytes], data: st.DataObject
) -> None:
    digest, _ = bundles.pack(write(tmp_path / "a", tree))
    changed = dict(tree)
    path = data.draw(st.sampled_from(sorted(tree)))
    if data.draw(st.booleans()):
        changed[path] += b"!"
    else:
        del changed[path]
    assert bundles.pack(write(tmp_path / "b", changed))[0] != digest


def test_caches_times_and_modes_do_not_count_but_an_executable_does(tmp_path: Path) -> None:
    folder = write(tmp_path / "a", {("agent.py",): b"x = 1"})
    digest, _ = bundles.pack(folder)
    for name in ("__pycache__/agent.pyc", ".git/config", "agent.pyc"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"cache")
    (folder / "agent.py").chmod(0o600)
    assert bundles.pack(folder)[0] == digest
    (folder / "agent.py").chmod(0o755)
    executable, packed = bundles.pack(folder)
    assert executable != digest
    bundles.unpack(packed, executable, tmp_path / "b")
    assert (tmp_path / "b" / "agent.py").stat().st_mode & 0o777 == 0o755


def test_only_and_leave_out_choose_files_and_a_missing_one_is_named(tmp_path: Path) -> None:
    folder = write(tmp_path / "a", {("a.py",): b"a", ("b.py",): b"b", ("c.py",): b"c"})
    digest, packed = bundles.pack(
        folder, only=frozenset({"a.py", "b.py"}), leave_out=frozenset({"b.py", "no.py"})
    )
    bundles.unpack(packed, digest, tmp_path / "t")
    assert set(read(tmp_path / "t")) == {("a.py",)}
    with pytest.raises(AgentError, match=r"no file 'd\.py'"):
        bundles.pack(folder, only=frozenset({"d.py"}))


def test_what_cannot_be_packed_is_named(tmp_path: Path) -> None:
    with pytest.raises(AgentError, match="does not exist"):
        bundles.pack(tmp_path / "nowhere")
    for name in ("link", "folder", "pipe"):
        folder = tmp_path / name
        folder.mkdir()
        if name == "pipe":
            os.mkfifo(folder / name)
        else:
            (folder / name).symlink_to("/etc" if name == "folder" else "/etc/passwd")
        with pytest.raises(AgentError, match=f"a link or a special file: '{name}'"):
            bundles.pack(folder)


def test_a_folder_above_the_limits_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write(tmp_path / "a", {(f"f{n}",): bytes([n]) * 200 for n in range(5)})
    for name, limit, words in (
        ("FILES", 4, "5 files"),
        ("UNPACKED_BYTES", 999, "1000 bytes"),
        ("ARCHIVE_BYTES", 50, "the limit is 50"),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(bundles, name, limit)
            with pytest.raises(AgentError, match=words):
                bundles.pack(folder)


@pytest.mark.parametrize(
    "hostile",
    [
        entry("link", tarfile.SYMTYPE, "/etc/passwd"),
        entry("link", tarfile.LNKTYPE, "../outside"),
        entry("pipe", tarfile.FIFOTYPE),
        entry("device", tarfile.CHRTYPE),
        entry("folder", tarfile.DIRTYPE),
        entry("/absolute"),
        entry("../outside"),
        entry("a/../../outside"),
        entry("."),
        entry(""),
        entry("ok.py/below"),
        entry("ok.py"),
        entry("./ok.py"),
        entry("x" * 300),
    ],
    ids=lambda made: f"{made.type.decode()}-{made.name[:20]}",
)
def test_an_archive_that_holds_anything_but_plain_files_leaves_nothing(
    tmp_path: Path, hostile: tarfile.TarInfo
) -> None:
    refused(*archive((entry("ok.py"), b"x"), (hostile, b"")), tmp_path)


def test_bytes_that_are_not_the_digests_are_refused(tmp_path: Path) -> None:
    packed, digest = archive((entry("a"), b"x"))
    assert "do not match" in refused(packed, "0" * 64, tmp_path)
    assert "gzip" in refused(b"no archive", digest, tmp_path)
    assert "gzip" in refused(packed[:-5], digest, tmp_path)
    nothing = gzip.compress(b"no tar")
    assert "cannot be unpacked" in refused(nothing, hashlib.sha256(b"no tar").hexdigest(), tmp_path)


def test_bombs_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    zeros = gzip.compress(b"\0" * (bundles.UNPACKED_BYTES + bundles.FILES * 2048 + 1))
    assert len(zeros) < 100_000
    assert "unpacks to more" in refused(zeros, "0" * 64, tmp_path)
    sparse = entry("hole")
    sparse.pax_headers = {
        "GNU.sparse.major": "1",
        "GNU.sparse.minor": "0",
        "GNU.sparse.realsize": str(2**40),
    }
    refused(*archive((sparse, b"1\n0\n0\n".ljust(512, b"\0"))), tmp_path)
    monkeypatch.setattr(bundles, "FILES", 3)
    refused(*archive(*((entry(f"f{n}"), b"x") for n in range(4))), tmp_path)


def test_another_loader_that_was_first_is_no_error(tmp_path: Path) -> None:
    packed, digest = archive((entry("a"), b"x"))
    bundles.unpack(packed, digest, tmp_path / "t")
    bundles.unpack(packed, digest, tmp_path / "t")
    assert read(tmp_path / "t") == {("a",): b"x"}
    assert [path.name for path in tmp_path.iterdir()] == ["t"]


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damaged_archives_are_refused_or_unpacked_below_the_folder(
    tmp_path: Path, data: st.DataObject
) -> None:
    packed, _ = archive((entry("é" * 60), b"a" * 700), (entry("b/c.py"), b"b"))
    content = bytearray(gzip.decompress(packed))
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(0, 4_000))
        content[at : at + 1] = data.draw(st.binary(min_size=1, max_size=12))
    target = tmp_path / "in" / "target"
    shutil.rmtree(target.parent, ignore_errors=True)
    with contextlib.suppress(AgentError):  # and nothing else
        bundles.unpack(gzip.compress(content, 1), hashlib.sha256(content).hexdigest(), target)
    assert list(target.parent.iterdir()) in ([], [target])
    assert [path.name for path in tmp_path.iterdir()] == ["in"]
