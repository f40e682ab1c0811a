"""Seam with Dagster: its daemon of sensors, which can be woken. Checked against Dagster 1.13.27.

Dagster looks at all sensors every five seconds. Woken, this one looks at once, and then every second for a while: a
sensor that was just looked at, or is being looked at, has its turn in one of these. What a look does is Dagster's own.
"""
# Dagster's private modules are typed in part:
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

import threading
import time
from collections.abc import Callable, Generator, Mapping
from typing import Any, Final

from dagster import DagsterInstance
from dagster._core.workspace.context import IWorkspaceProcessContext
from dagster._daemon.daemon import SensorDaemon

AWAKE_SECONDS: Final = 5.0
"""How long looks follow each other after a wake."""

LEAST_SECONDS: Final = 1.1
"""Between two looks, awake: more than the second that sensors of publishes have between theirs."""

_SLICE_SECONDS: Final = 0.1


class WokenWaits(threading.Event):
    """What Dagster's loop waits on between two looks: ends early when it is woken.

    Args:
        shutdown: Of the daemon.
        clock: Seconds that only grow.
    """

    def __init__(self, shutdown: threading.Event, clock: Callable[[], float] = time.monotonic) -> None:
        """Begin asleep."""
        super().__init__()
        self._shutdown, self._clock = shutdown, clock
        self._woken = threading.Event()
        self._awake_until = self._looked = float("-inf")

    def wake(self) -> None:
        """Let the next look begin; from any thread."""
        self._woken.set()

    def is_set(self) -> bool:
        """Tell whether the daemon ends."""
        return self._shutdown.is_set()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the next look is due, and tell whether the daemon ends.

        Args:
            timeout: Seconds until it is due for somebody who is asleep; None waits for the end.
        """
        began = self._clock()
        while True:
            now = self._clock()
            if self._woken.is_set() and now >= self._looked + LEAST_SECONDS:
                self._woken.clear()
                self._awake_until = now + AWAKE_SECONDS
                break
            due = timeout is not None and now >= began + timeout
            if due or (now < self._awake_until and now >= self._looked + LEAST_SECONDS):
                break
            if self._shutdown.wait(_SLICE_SECONDS):
                return True
        self._looked = self._clock()
        return self._shutdown.is_set()


class WokenSensorDaemon(SensorDaemon):
    """Dagster's daemon of sensors.

    Args:
        settings: Of the instance, for its threads.
    """

    def __init__(self, settings: Mapping[str, Any]) -> None:
        """Begin asleep."""
        super().__init__(settings)
        self._waits: WokenWaits | None = None

    def wake(self) -> None:
        """Let the next look begin; from any thread. Before the first look there is nobody to wake."""
        if self._waits is not None:
            self._waits.wake()

    def core_loop(
        self, workspace_process_context: IWorkspaceProcessContext[Any], shutdown_event: threading.Event
    ) -> Generator[Any]:
        """Look until the daemon ends."""
        self._waits = WokenWaits(shutdown_event)
        yield from super().core_loop(workspace_process_context, self._waits)


class InstanceCursors:
    """How far events are known, in the instance's database; see `event_followers.Cursors`."""

    def __init__(self, instance: DagsterInstance) -> None:
        """Use an instance."""
        self._storage = instance.daemon_cursor_storage

    def read(self, marketplace: str) -> int:
        """Return the cursor of the last event that is known; 0 for none."""
        kept = self._storage.get_cursor_values({_key(marketplace)}).get(_key(marketplace), "")
        return int(kept) if kept.isdigit() else 0

    def write(self, marketplace: str, cursor: int) -> None:
        """Keep a cursor."""
        self._storage.set_cursor_values({_key(marketplace): str(cursor)})


def _key(marketplace: str) -> str:
    return f"orchestrator/marketplace-events/{marketplace}"
