"""Files and folders that are made once and then found by name, whoever needs them first."""

import fcntl
import hashlib
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path


def digest_of(files: Mapping[str, bytes]) -> str:
    """Return twelve hexadecimal digits that stand for files by name and content."""
    digest = hashlib.sha256()
    for name, content in sorted(files.items()):
        digest.update(f"{name} {len(content)}\n".encode() + content)
    return digest.hexdigest()[:12]


def cached(target: Path, make: Callable[[Path], None]) -> Path:
    """Return a file or folder; make it when it is not there. Several processes may ask at once: one makes it.

    Args:
        target: Its name says what it is made from: it is never made again.
        make: Makes it at the path that it is given, beside the target; what it leaves there when it fails is removed
            the next time.
    """
    if target.exists():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.with_name(f".{target.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not target.exists():
            new = target.with_name(f".{target.name}.new")
            remove(new)
            make(new)
            new.rename(target)
    return target


def remove(path: Path) -> None:
    """Remove a file or a folder, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
