"""What the agent's code prints becomes log events of its execution, and never touches the wire."""

import io
import sys
from contextlib import suppress
from typing import BinaryIO, TextIO

from orchestrator_runtimes.execution import CURRENT, Execution


class Console(io.TextIOBase):
    """A text stream that tells whole lines to the execution that wrote them, and the rest to `fallback`.

    Args:
        fallback: Where lines go that belong to no execution, or that are too many.
    """

    def __init__(self, fallback: TextIO) -> None:
        """Begin with nothing written."""
        self._fallback = fallback

    @property
    def encoding(self) -> str:  # type: ignore[override]  # the stub has a writable attribute
        """What programs ask a console for."""
        return self._fallback.encoding

    @property
    def buffer(self) -> BinaryIO:
        """The fallback's: bytes belong to no execution."""
        return self._fallback.buffer

    def writable(self) -> bool:
        """Return True."""
        return True

    def fileno(self) -> int:
        """Return the fallback's, for programs that inherit it."""
        return self._fallback.fileno()

    def write(self, text: str) -> int:
        """Take text; a line goes out when its end was written, the last one when its execution ends."""
        execution = CURRENT.get()
        if execution is None:
            self._fallback.write(text)
            return len(text)
        for line in execution.add_text(text):
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
