"""The tools of the trials."""

import os
import tempfile
import time


def note(text: str) -> str:
    """Note a text."""
    return f"noted: {text}"


def fill(text: str) -> str:
    """Take all the disk there is, as a tool does that keeps what it downloads, and then go on for a while."""
    size = os.statvfs(tempfile.gettempdir()).f_bavail * os.statvfs(tempfile.gettempdir()).f_frsize
    with tempfile.TemporaryFile() as file:
        os.posix_fallocate(file.fileno(), 0, min(size, LARGEST))
        time.sleep(FILLED_SECONDS)
    return f"noted: {text}"


LARGEST = 3 * 2**29
"""Bytes: half as much again as a pod may have, and little enough for any node."""
FILLED_SECONDS = 120
