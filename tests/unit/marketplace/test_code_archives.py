"""Hostile code is refused by name, and nothing of it is written."""

import io
import os
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator_marketplace.code_archives import file_names, pack_code, unpack_code
from orchestrator_marketplace.oci import digest_of
from orchestrator_marketplace.refusals import BundleRefused, Refusal
from orchestrator_runtimes import bundles


def tar(*entries: tuple[tarfile.TarInfo, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for entry, content in entries:
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def entry(name: str, kind: bytes = tarfile.REGTYPE, target: str = "") -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    made.type, made.linkname = kind, target
    return made


def sparse() -> bytes:
    """Return a tar whose one file says that it is a gibibyte of holes."""
    made = entry("holes")
    made.pax_headers = {"GNU.sparse.major": "0", "GNU.sparse.map": "0,1", "GNU.sparse.size": str(2**30)}
    return tar((made, b"x"))


def lying() -> bytes:
    """Return a tar whose one file says that it is larger than the tar."""
    made = entry("big")
    made.size = 2**33
    return made.tobuf(tarfile.GNU_FORMAT) + b"\0" * 10_240


HOSTILE: dict[str, tuple[Callable[[], bytes], Refusal]] = {
    "symbolic link": (lambda: tar((entry("a", tarfile.SYMTYPE, "/etc/passwd"), b"")), Refusal.LINK),
    "hard link": (lambda: tar((entry("a", tarfile.LNKTYPE, "/etc/passwd"), b"")), Refusal.LINK),
    "device": (lambda: tar((entry("a", tarfile.CHRTYPE), b"")), Refusal.LINK),
    "pipe": (lambda: tar((entry("a", tarfile.FIFOTYPE), b"")), Refusal.LINK),
    "folder": (lambda: tar((entry("a", tarfile.DIRTYPE), b"")), Refusal.LINK),
    "parent": (lambda: tar((entry("../a"), b"")), Refusal.ESCAPING_PATH),
    "parent within": (lambda: tar((entry("a/../../b"), b"")), Refusal.ESCAPING_PATH),
    "absolute": (lambda: tar((entry("/etc/cron.d/a"), b"")), Refusal.ESCAPING_PATH),
    "backslash": (lambda: tar((entry("..\\a"), b"")), Refusal.ESCAPING_PATH),
    "sparse": (sparse, Refusal.BOMB),
    "lying size": (lying, Refusal.BOMB),
    "twice": (lambda: tar((entry("a"), b"1"), (entry("a"), b"2")), Refusal.MALFORMED),
    "file as folder": (lambda: tar((entry("a"), b"1"), (entry("a/b"), b"2")), Refusal.MALFORMED),
    "odd spelling": (lambda: tar((entry("a//b"), b"1")), Refusal.MALFORMED),
    "many": (lambda: tar(*((entry(str(i)), b"") for i in range(bundles.FILES + 1))), Refusal.OVERSIZED),
    "no tar": (lambda: b"x" * 1_024, Refusal.MALFORMED),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_code_is_refused_by_name_and_leaves_nothing(name: str, tmp_path: Path) -> None:
    make, refusal = HOSTILE[name]
    code = make()
    with pytest.raises(BundleRefused) as refused:
        unpack_code(code, digest_of(code), tmp_path / "inner" / "code")
    assert refused.value.refusal is refusal, refused.value
    assert list(tmp_path.iterdir()) == []


def test_code_of_another_digest_is_tampered(tmp_path: Path) -> None:
    code = tar((entry("a.py"), b"1"))
    with pytest.raises(BundleRefused) as refused:
        unpack_code(code, digest_of(b"other"), tmp_path / "code")
    assert refused.value.refusal is Refusal.TAMPERED
    assert list(tmp_path.iterdir()) == []


@given(st.binary(max_size=2_000))
def test_any_bytes_are_code_or_are_refused(content: bytes) -> None:
    said = ""
    try:
        file_names(content)
    except BundleRefused as error:
        said = error.message
    assert "\n" not in said


def test_a_folder_becomes_code_whose_digest_is_the_contracts(tmp_path: Path) -> None:
    (tmp_path / "agent" / "sub" / "__pycache__").mkdir(parents=True)
    (tmp_path / "agent" / "a.py").write_text("1")
    (tmp_path / "agent" / "sub" / "b.sh").write_text("2")
    (tmp_path / "agent" / "sub" / "b.sh").chmod(0o755)
    code = pack_code(tmp_path / "agent")
    assert digest_of(code) == f"sha256:{bundles.pack(tmp_path / 'agent')[0]}"
    unpack_code(code, digest_of(code), tmp_path / "copy")
    assert sorted(file_names(code)) == ["a.py", "sub/b.sh"]
    assert pack_code(tmp_path / "copy") == code
    assert os.access(tmp_path / "copy" / "sub" / "b.sh", os.X_OK)


def _large(folder: Path) -> None:
    (folder / "big").touch()
    os.truncate(folder / "big", bundles.UNPACKED_BYTES + 1)


NO_CODE: dict[str, tuple[Callable[[Path], object], Refusal]] = {
    "link to a file": (lambda folder: (folder / "a").symlink_to("/etc/passwd"), Refusal.LINK),
    "link to a folder": (lambda folder: (folder / "a").symlink_to("/etc"), Refusal.LINK),
    "pipe": (lambda folder: os.mkfifo(folder / "a"), Refusal.LINK),
    "hidden": (lambda folder: (folder / ".env").write_text("key"), Refusal.MALFORMED),
    "empty": (lambda _folder: None, Refusal.MALFORMED),
    "large": (_large, Refusal.OVERSIZED),
}


@pytest.mark.parametrize("name", NO_CODE)
def test_folders_that_are_no_code(name: str, tmp_path: Path) -> None:
    make, refusal = NO_CODE[name]
    (tmp_path / "agent").mkdir()
    make(tmp_path / "agent")
    with pytest.raises(BundleRefused) as refused:
        pack_code(tmp_path / "agent")
    assert refused.value.refusal is refusal


def test_the_folder_itself_is_none_or_a_link(tmp_path: Path) -> None:
    with pytest.raises(BundleRefused, match="malformed"):
        pack_code(tmp_path / "agent")
    (tmp_path / "agent").symlink_to("/etc")
    with pytest.raises(BundleRefused, match="link: "):
        pack_code(tmp_path / "agent")
