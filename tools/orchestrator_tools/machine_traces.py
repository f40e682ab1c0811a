"""Finds what belongs to one machine in the files of the repository: paths of a checkout or a home, hosts of a mirror.

Nothing is listed here: the paths are those of the checkout and of home folders, the hosts those that pip, uv and npm
are told to use on the machine that runs the check. A lock names no registry: everybody has their own.
"""

import os
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from orchestrator_tools.sources import repository_files
from orchestrator_tools.steps import CHECKOUT

SHARED_FOLDERS: Final = frozenset(
    {"/", "/app", "/code", "/home", "/mnt", "/opt", "/root", "/src", "/srv", "/tmp", "/usr", "/var"}
)
"""Parents of a checkout that say nothing about a machine."""

_HOST: Final = re.compile(r"https?://(?:[^/@\s]*@)?([\w.-]+)")
_HOME: Final = re.compile(r"(?<![\w.~}])/(?:(?:home|Users)/\w|root[/])")
_SETTINGS: Final = re.compile(r"(PIP|UV|NPM)_.*(INDEX|URL|LINKS|REGISTRY)|GOPROXY", re.IGNORECASE)


def mirror_hosts() -> set[str]:
    """Return the hosts from which this machine's installers take packages."""
    texts = [value for name, value in os.environ.items() if _SETTINGS.search(name)]
    for command in (
        [sys.executable, "-m", "pip", "config", "list"],
        ["npm", "config", "get", "registry"],
        ["go", "env", "GOPROXY"],
    ):
        try:
            texts.append(
                subprocess.run(command, capture_output=True, text=True, timeout=20, check=False).stdout
            )
        except (OSError, subprocess.TimeoutExpired):
            continue  # an installer that is not here has no mirror
    return {host for text in texts for host in _HOST.findall(text)}


def checkout_paths(checkout: Path) -> set[str]:
    """Return the paths that only this machine has."""
    parent = str(checkout.parent)
    return {f"{checkout}/"} | (set() if parent in SHARED_FOLDERS else {f"{parent}/"})


def traces(text: str, words: Iterable[str]) -> Iterator[tuple[int, str]]:
    """Yield the number and the finding of each line that holds one of the words, or a path below somebody's home."""
    for number, line in enumerate(text.splitlines(), start=1):
        if found := _HOME.search(line):
            yield number, found.group()
        yield from ((number, word) for word in words if word in line)


def main() -> int:
    """Print each finding as `file:line: what`, and return 1 when there is one."""
    words = sorted(mirror_hosts() | checkout_paths(CHECKOUT))
    found = 0
    for path in repository_files():
        content = path.read_bytes()
        if b"\0" in content:
            continue  # pictures and archives
        for number, what in traces(content.decode(errors="replace"), words):
            found += 1
            print(f"{path.relative_to(CHECKOUT)}:{number}: {what!r} belongs to one machine: leave it out")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
