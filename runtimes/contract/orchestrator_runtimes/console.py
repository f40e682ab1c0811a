"""What the agent's code prints becomes log events of its execution, and never touches the wire."""

import io
import sys
import threading
from contextlib import suppress
from typing import Final, TextIO

from orchestrator_runtimes.execution import CURRENT, Execution

_LINE_CHARACTERS: Final = 8_000


class Console(io.TextIOBase):
    """A text stream that tells whole lines to the execution that wrote them, and the rest to `fallback`.

    Args:
        fallback: Where lines go that belong to no execution, or that are too many.
    """

    def __init__(self, fallback: TextIO) -> None:
        """Begin with nothing written."""
        self._fallback = fallback
        self._lines: dict[tuple[int, int], str] = {}
        self._lock = threading.Lock()

    def writable(self) -> bool:
        """Return True."""
        return True

    def fileno(self) -> int:
        """Return the fallback's, for programs that inherit it."""
        return self._fallback.fileno()

    def write(self, text: str) -> int:
        """Take text; a line goes out when its end was written."""
        execution = CURRENT.get()
        if execution is None:
            self._fallback.write(text)
            return len(text)
        key = threading.get_ident(), id(execution)
        with self._lock:
            *lines, rest = (self._lines.pop(key, "") + text).split("\n")
            if len(rest) > _LINE_CHARACTERS:
                lines, rest = [*lines, rest], ""
            if rest:
                self._lines[key] = rest
        for line in filter(None, lines):
            self._tell(execution, line)
        return len(text)

    def flush(self) -> None:
        """Flush the fallback; half lines wait for their end."""
        self._fallback.flush()

    def _tell(self, execution: Execution, line: str) -> None:
        told = False
        with suppress(Exception):  # a print must not fail because the trusted side is gone or slow
            told = execution.log(line)
        if not told:
            self._fallback.write(line + "\n")


def capture() -> None:
    """Put consoles in place of the process's standard output and error."""
    sys.stdout, sys.stderr = Console(sys.stderr), Console(sys.stderr)
