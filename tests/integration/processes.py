"""What tests see of processes from outside; Linux."""

from pathlib import Path


def alive(pid: int) -> bool:
    """Return whether a process runs; one that has ended and that nobody has collected yet does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
