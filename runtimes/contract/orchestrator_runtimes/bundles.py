"""A bundle: a folder of an agent's code as reproducible bytes with a digest, and back, safely."""

import gzip
import hashlib
import io
import os
import shutil
import tarfile
import tempfile
from pathlib import Path, PurePosixPath
from typing import Final

from orchestrator_runtimes.errors import AgentError, ErrorCode

ARCHIVE_BYTES: Final = 8 * 1024 * 1024
UNPACKED_BYTES: Final = 64 * 1024 * 1024
FILES: Final = 2_000
IGNORED: Final = frozenset(
    {"__pycache__", ".git", ".venv", "node_modules", ".pytest_cache", ".mypy_cache", ".ruff_cache"}
)


def pack(
    folder: Path, *, only: frozenset[str] = frozenset(), leave_out: frozenset[str] = frozenset()
) -> tuple[str, bytes]:
    """Return the digest and the bytes of `folder`: the same files give the same bytes anywhere.

    Caches, hidden tool folders and compiled files are left out; owners, times and modes do not count, except that a
    file is executable or not. `only` names the files that
    are meant, relative to the folder, when it is not empty; `leave_out` names further ones that are not.

    Raises:
        AgentError: `agent_load_failed` when the folder is missing, holds a link or a special file, or is too large.
    """
    if not folder.is_dir():
        raise AgentError(ErrorCode.AGENT_LOAD_FAILED, f"bundle folder {str(folder)!r} does not exist")
    found = set(_files(folder))
    if missing := sorted(only - found):
        raise AgentError(
            ErrorCode.AGENT_LOAD_FAILED, f"bundle folder {str(folder)!r} has no file {missing[0]!r}"
        )
    names = sorted((only or found) - leave_out)
    size = sum((folder / name).stat().st_size for name in names)
    if len(names) > FILES or size > UNPACKED_BYTES:
        raise AgentError(
            ErrorCode.AGENT_LOAD_FAILED,
            f"bundle folder {str(folder)!r} holds {len(names)} files of {size} bytes; the limits are {FILES} files"
            f" and {UNPACKED_BYTES} bytes: keep data out of the agent's folder",
        )
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name in names:
            content = (folder / name).read_bytes()
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            entry.mode = 0o755 if os.access(folder / name, os.X_OK) else 0o644
            archive.addfile(entry, io.BytesIO(content))
    packed = gzip.compress(buffer.getvalue(), mtime=0)
    if len(packed) > ARCHIVE_BYTES:
        raise AgentError(
            ErrorCode.AGENT_LOAD_FAILED,
            f"bundle of {str(folder)!r} is {len(packed)} bytes; the limit is {ARCHIVE_BYTES}",
        )
    return hashlib.sha256(buffer.getvalue()).hexdigest(), packed


def _files(folder: Path) -> list[str]:
    found: list[str] = []
    for parent, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if name not in IGNORED]
        for name in folders + files:
            path = Path(parent, name)
            if path.is_symlink() or not (path.is_file() or path.is_dir()):
                raise AgentError(
                    ErrorCode.AGENT_LOAD_FAILED,
                    f"bundle folder {str(folder)!r} holds a link or a special file:"
                    f" {path.relative_to(folder).as_posix()!r}",
                )
        found += [
            Path(parent, name).relative_to(folder).as_posix()
            for name in files
            if not name.endswith((".pyc", ".pyo"))
        ]
    return found


def unpack(packed: bytes, digest: str, target: Path) -> None:
    """Write the bundle `packed` as the folder `target`, which appears whole or not at all.

    Raises:
        AgentError: `agent_load_failed` when the bytes are not those of `digest`, hold anything but plain files
            below the folder, or unpack to more than the limits.
    """
    content = _decompress(packed)
    if hashlib.sha256(content).hexdigest() != digest:
        raise AgentError(
            ErrorCode.AGENT_LOAD_FAILED, f"the bundle's bytes do not match its digest {digest!r}"
        )
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(dir=target.parent, prefix=".unpacking-"))
        try:
            _extract(content, staging)
            staging.chmod(0o755)
            try:
                staging.rename(target)
            except OSError:
                if (
                    not target.is_dir()
                ):  # else another loader of the same digest was first, with the same bytes
                    raise
        finally:
            shutil.rmtree(staging, ignore_errors=True)
    except (tarfile.TarError, OSError, ValueError) as error:
        raise AgentError(
            ErrorCode.AGENT_LOAD_FAILED, "the bundle cannot be unpacked", cause=str(error)
        ) from error


def _decompress(packed: bytes) -> bytes:
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(packed)) as stream:
            content = stream.read(UNPACKED_BYTES + FILES * 2048 + 1)
    except (OSError, EOFError, ValueError) as error:
        raise AgentError(
            ErrorCode.AGENT_LOAD_FAILED, "the bundle is not a gzip archive", cause=str(error)
        ) from error
    if len(content) > UNPACKED_BYTES + FILES * 2048:
        raise AgentError(
            ErrorCode.AGENT_LOAD_FAILED, f"the bundle unpacks to more than {UNPACKED_BYTES} bytes"
        )
    return content


def _extract(content: bytes, folder: Path) -> None:
    with tarfile.open(fileobj=io.BytesIO(content), mode="r:") as archive:
        for number, entry in enumerate(archive):
            path = PurePosixPath(entry.name)
            destination = folder / path
            if (
                entry.type != tarfile.REGTYPE
                or entry.issparse()
                or entry.size > len(content)
                or path.is_absolute()
                or ".." in path.parts
                or "\0" in entry.name
                or number >= FILES
                or destination.exists()
            ):
                raise AgentError(
                    ErrorCode.AGENT_LOAD_FAILED, f"the bundle holds a forbidden entry {entry.name!r:.200}"
                )
            stream = archive.extractfile(entry)
            assert stream is not None  # regular files have content
            destination.parent.mkdir(parents=True, exist_ok=True)
            destination.write_bytes(stream.read())
            destination.chmod(0o755 if entry.mode & 0o100 else 0o644)
