"""What the tests of isolation counted, for `make isolation` to tell."""

import json
import os
from collections import Counter
from pathlib import Path
from typing import Final

FILE: Final = "ISOLATION_COUNTS"
"""Environment variable with the path of a file that gets the counts as JSON, when the tests end."""


class Counts:
    """Counted attempts and what they reached; each name once."""

    def __init__(self) -> None:
        self._tried = dict[str, set[str]]()
        self._reached = Counter[str]()

    def tried(self, kind: str, name: str) -> None:
        """Count a root, mutation, subscription or route that was tried."""
        self._tried.setdefault(kind, set()).add(name)

    def reached(self, kind: str, times: int) -> None:
        """Count foreign reads or writes."""
        self._reached[kind] += times

    def write(self) -> None:
        """Write the counts where somebody wants them."""
        path = os.environ.get(FILE)
        if path:
            tried = {kind: len(names) for kind, names in self._tried.items()}
            Path(path).write_text(json.dumps({**tried, **self._reached}))
