"""Folders for the sockets of this user's processes."""

import os
import stat
import tempfile
from pathlib import Path


def private_folder(name: str) -> Path | None:
    """Return a folder that this user's processes share and nobody else can enter, made when missing.

    Args:
        name: What it holds.

    Returns:
        None when it cannot be trusted to be this user's alone.
    """
    place = Path(tempfile.gettempdir()) / f"{name}-{os.getuid()}"
    try:
        place.mkdir(mode=0o700, exist_ok=True)
        found = place.lstat()
    except OSError:
        return None  # it cannot even be made
    own = stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o077
    return place if own else None
