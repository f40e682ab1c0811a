"""A small disk of the node's own, so that a test can fill it: a file system in a file that takes what is written."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from orchestrator_tools.cluster.commands import ClusterError, run

DISK_BYTES: Final = 8 * 2**30
"""Of what pods keep on disk; the file is sparse, and what is only reserved in it takes nothing of the machine."""

COMMAND_SECONDS: Final = 60.0


def mount_disk(file: Path, folder: Path, environment: Mapping[str, str]) -> str | None:
    """Make an empty disk and mount it in a mount namespace, with whose end it is free again.

    Args:
        file: What holds it; it must not be there.
        folder: Where it is mounted.
        environment: Of the programs that make it.

    Returns:
        Why it cannot be had, in one line, as where a container has no loop devices; None where it is mounted.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with file.open("xb") as made:
        os.truncate(made.fileno(), DISK_BYTES)
    try:
        # no journal: what it holds need not outlive the node
        made_of = ("-q", "-F", "-m", "0", "-O", "^has_journal", "-E", "lazy_itable_init=1")
        run(["mkfs.ext4", *made_of, file], seconds=COMMAND_SECONDS, environment=environment)
        run(["mount", "-o", "loop", file, folder], seconds=COMMAND_SECONDS)
    except ClusterError as error:
        file.unlink()
        return " ".join(str(error).split())
    return None
