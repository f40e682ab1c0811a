"""What a step tells while its executions run: in the Dagster event log, in a bounded number of rows."""

import queue
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Final, Self

from orchestrator_resources.execution_batches import Item, Row
from orchestrator_runtimes.events import ApprovalRequested, Event, Log, Message, ModelCall, ToolCall
from orchestrator_runtimes.json_values import dump

ROWS: Final = 60
"""Most lines of single events that one step tells."""

EVERY_SECONDS: Final = 5.0
"""Least time between two lines that count finished executions."""

_CHARACTERS: Final = 300
_DRAIN_SECONDS: Final = 10.0


class Progress:
    """Turns events and rows into lines for people, inside `with`.

    Its methods may be called from any thread and do not block: writing an event takes Dagster milliseconds, so a thread
    of its own does it.

    Args:
        total: How many executions the step has.
        tell: Takes one line.
        quotes: Whether lines hold what agents say, ask and print, and what went wrong in tools and at models, which may
            repeat it; else they say how long it is.

    Attributes:
        models: Names of the models that were called.
    """

    def __init__(self, total: int, tell: Callable[[str], None], *, quotes: bool = True) -> None:
        """Begin with nothing told."""
        self.models: set[str] = set()
        self._total, self._quotes = total, quotes
        self._tell_now = tell
        self._lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._teller = threading.Thread(target=self._drain, name="progress", daemon=True)
        self._lock = threading.Lock()
        self._events = 0
        self._done = self._failed = self._waiting = self._replayed = self._tokens = 0
        self._last = time.monotonic()

    def __enter__(self) -> Self:
        """Start telling."""
        self._teller.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Tell what is left."""
        self._lines.put(None)
        self._teller.join(_DRAIN_SECONDS)

    def _tell(self, line: str) -> None:
        self._lines.put(line)

    def _drain(self) -> None:
        """Tell what waits: lines that came while others were told are told together, in one row of the event log."""
        ended = False
        while not ended:
            waiting = [self._lines.get()]
            while not self._lines.empty():
                waiting.append(self._lines.get())
            lines = [line for line in waiting if line is not None]
            ended = len(lines) < len(waiting)
            if lines:
                self._tell_now("\n".join(lines))

    def on_event(self, item: Item, event: Event) -> None:
        """Tell an event, while there are few."""
        line = _line(event, quotes=self._quotes)
        if line is None:
            return
        with self._lock:
            if isinstance(event, ModelCall):
                self.models.add(event.model)
            self._events += 1
            number = self._events
        if number <= ROWS:
            name = f"{item.key}: " if self._total > 1 else ""
            self._tell(f"{name}{line}"[:_CHARACTERS])
        if number == ROWS:
            self._tell("further steps of the executions are not told one by one")

    def on_row(self, row: Row) -> None:
        """Count an execution that has ended; tell the count now and then."""
        with self._lock:
            self._done += 1
            self._failed += row.error is not None
            self._waiting += bool(row.waiting)
            self._replayed += row.replayed
            self._tokens += row.usage.input_tokens + row.usage.output_tokens
            now = time.monotonic()
            due = self._done == self._total or now - self._last >= EVERY_SECONDS
            if due:
                self._last = now
        if due and self._total > 1:
            replayed = f", {self._replayed} from an earlier try" if self._replayed else ""
            waiting = f", {self._waiting} wait for a decision" if self._waiting else ""
            self._tell(
                f"{self._done} of {self._total} executions ended, {self._failed} failed{waiting}{replayed},"
                f" {self._tokens} tokens"
            )


def _line(event: Event, *, quotes: bool) -> str | None:
    def quoted(text: str) -> str:
        return text if quotes else f"{len(text)} characters"

    def failed(error: str) -> str:
        return error if quotes else f"failed, {len(error)} characters"

    if isinstance(event, ModelCall):
        what = failed(event.error) if event.error else f"{event.input_tokens} in, {event.output_tokens} out"
        return f"model call {event.model} ({event.seconds:.2f} s): {what}"
    if isinstance(event, ToolCall):
        return f"tool {event.name} ({event.seconds:.2f} s): {failed(event.error) if event.error else 'done'}"
    if isinstance(event, Message):
        return f"{event.agent or 'agent'} said: {quoted(' '.join(event.text.split()))}"
    if isinstance(event, ApprovalRequested):
        return f"asks for a decision: {quoted(dump(event.request).decode())}"
    return f"log: {quoted(event.text)}" if isinstance(event, Log) else None
