"""The tools of the trials."""

import os
import tempfile
import time


def note(text: str) -> str:
    """Note a text."""
    return f"noted: {text}"


def fill(text: str) -> str:
    """Take nearly all the disk there is, as a tool does that keeps what it downloads, and go on for a while."""
    disk = os.statvfs(tempfile.gettempdir())
    with tempfile.NamedTemporaryFile() as file:  # one without a name would not be counted
        os.posix_fallocate(file.fileno(), 0, min(disk.f_bavail * disk.f_frsize - LEFT_BYTES, LARGEST_BYTES))
        time.sleep(FILLED_SECONDS)
    return f"noted: {text}"


LARGEST_BYTES = 3 * 2**29
"""Half as much again as a pod may have, and little enough for any node."""
LEFT_BYTES = 40 * 2**20
"""Too little for a node, and enough for whoever writes before the pod is ended."""
FILLED_SECONDS = 240
