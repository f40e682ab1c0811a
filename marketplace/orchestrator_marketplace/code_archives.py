"""The agent's code of a bundle as one tar: the bytes whose digest the contract names a bundle by, and back to files.

It is not compressed: the same files give the same bytes whichever zlib there is, the digest in a registry is the one
that guests load by, and nothing can unpack to more than it weighs.
"""

import gzip
import io
import os
import tarfile
from pathlib import Path, PurePosixPath
from typing import Final

from orchestrator_marketplace.refusals import BundleRefused, Refusal
from orchestrator_runtimes import bundles
from orchestrator_runtimes.errors import AgentError

CODE_BYTES: Final = bundles.UNPACKED_BYTES + bundles.FILES * 2_048
_PLAIN: Final = frozenset({tarfile.REGTYPE, tarfile.AREGTYPE})
_LINKS: Final = frozenset({tarfile.SYMTYPE, tarfile.LNKTYPE})


def pack_code(
    folder: Path, *, only: frozenset[str] = frozenset(), leave_out: frozenset[str] = frozenset()
) -> bytes:
    """Return the files of a folder as a tar, reproducibly; see `orchestrator_runtimes.bundles.pack`.

    Args:
        folder: Where they are.
        only: Those that are meant, relative to the folder; empty means all.
        leave_out: Those that are not.

    Raises:
        BundleRefused: `link`; `malformed` for a hidden file or an empty folder; `oversized`.
    """
    _look_through(folder)
    try:
        _digest, packed = bundles.pack(folder, only=only, leave_out=leave_out)
    except AgentError as error:
        raise BundleRefused(Refusal.OVERSIZED, error.message) from error
    code = gzip.decompress(packed)
    if not file_names(code):
        raise BundleRefused(Refusal.MALFORMED, f"{folder}: holds no files: write the agent's code there")
    return code


def _look_through(folder: Path) -> None:
    if folder.is_symlink() or not folder.is_dir():
        raise BundleRefused(
            Refusal.LINK if folder.is_symlink() else Refusal.MALFORMED,
            f"{folder}: is no folder with the agent's code",
        )
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if name not in bundles.IGNORED]
        for name in (*folders, *names):
            path = Path(parent, name)
            if path.is_symlink() or not (path.is_dir() or path.is_file()):
                raise BundleRefused(Refusal.LINK, f"{path}: is a link or a special file")
            if name.startswith("."):
                raise BundleRefused(
                    Refusal.MALFORMED, f"{path}: is hidden, and would be published: move it away"
                )


def file_names(code: bytes) -> tuple[str, ...]:
    """Return the names of the files of a tar, of which each is a plain file that stays in its folder.

    Raises:
        BundleRefused: `link`, `escaping_path`, `bomb`, `oversized`, `malformed`.
    """
    found: dict[str, None] = {}
    total = 0
    try:
        with tarfile.open(fileobj=io.BytesIO(code), mode="r:") as archive:
            for entry in archive:
                total += entry.size
                _check_entry(entry, found, total, len(code))
                found[entry.name] = None
    except (tarfile.TarError, ValueError, OverflowError, RecursionError) as error:
        raise BundleRefused(Refusal.MALFORMED, "the code is no tar", cause=str(error)) from error
    return tuple(found)


def _check_entry(entry: tarfile.TarInfo, found: dict[str, None], total: int, weight: int) -> None:
    name, path = f"{entry.name!r:.200}", PurePosixPath(entry.name)
    if entry.type in _LINKS or not (entry.type in _PLAIN or entry.issparse()):
        raise BundleRefused(Refusal.LINK, f"the code holds {name}, which is no plain file")
    if entry.issparse() or total > weight:
        raise BundleRefused(Refusal.BOMB, f"the code holds {name}, which unpacks to more than it weighs")
    if path.is_absolute() or ".." in path.parts or "\\" in entry.name or "\0" in entry.name:
        raise BundleRefused(Refusal.ESCAPING_PATH, f"the code holds {name}, which is outside its folder")
    if str(path) != entry.name or entry.name in found or any(str(parent) in found for parent in path.parents):
        raise BundleRefused(Refusal.MALFORMED, f"the code holds {name} twice, or as no name of a file")
    if len(found) >= bundles.FILES:
        raise BundleRefused(Refusal.OVERSIZED, f"the code holds more than {bundles.FILES} files")


def unpack_code(code: bytes, digest: str, folder: Path) -> None:
    """Write a tar as a folder, which appears whole or not at all.

    Args:
        code: See `file_names`.
        digest: `sha256:…` of it.
        folder: Is not there.

    Raises:
        BundleRefused: See `file_names`; `tampered`.
    """
    file_names(code)
    try:
        bundles.unpack(gzip.compress(code, 1), digest.removeprefix("sha256:"), folder)
    except AgentError as error:
        raise BundleRefused(Refusal.TAMPERED, error.message, cause=error.cause) from error
