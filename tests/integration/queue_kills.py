"""Kills daemons in the middle of a tick: `python -m tests.integration.queue_kills FOLDER`, a process without threads.

A daemon is a forked process. It ends itself with SIGKILL right before the n-th change of the database, or right before
or after the n-th start of a run.
"""

import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from sqlalchemy import event
from sqlalchemy.engine import Engine

from tests.integration.queue_instances import RecordingLauncher, copied, opened, prepare, submit, tick

PLACES: Final = 2


class Fuse:
    """Ends this process at a boundary.

    Args:
        at: Which one, counted from 0; None for never.
    """

    def __init__(self, at: int | None) -> None:
        self.at = at
        self.passed = 0

    def boundary(self) -> None:
        if self.passed == self.at:
            os.kill(os.getpid(), signal.SIGKILL)
        self.passed += 1


def lay(fuse: Fuse) -> None:
    """Make every change that this process makes a boundary."""

    def statement(_connection: Any, _cursor: Any, text: str, *_more: Any) -> None:
        if text.lstrip().upper().startswith(("INSERT", "UPDATE", "DELETE")):
            fuse.boundary()

    event.listen(Engine, "before_cursor_execute", statement)
    launch = RecordingLauncher.launch_run

    def launched(self: RecordingLauncher, context: Any) -> None:
        fuse.boundary()
        launch(self, context)
        fuse.boundary()

    RecordingLauncher.launch_run = launched  # type: ignore[method-assign]


def in_a_daemon(folder: Path, at: int | None, ticks: int) -> tuple[bool, int]:
    """Run a daemon for some ticks; return whether it was killed, and how many boundaries it passed, if not."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            fuse = Fuse(at)
            with opened(folder) as instance:
                lay(fuse)
                for _ in range(ticks):
                    tick(instance)
            os.write(writing, str(fuse.passed).encode())
            status = 0
        finally:
            os._exit(status)
    os.close(writing)
    with os.fdopen(reading) as told:
        passed = told.read()
    _, code = os.waitpid(child, 0)
    killed = os.WIFSIGNALED(code)
    assert killed or os.WEXITSTATUS(code) == 0, f"the daemon failed at {at}"
    return killed, int(passed or 0)


def apart(work: Callable[[], None]) -> None:
    """Do something in a process of its own, so that this one holds no connection."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            work()
            status = 0
        finally:
            os._exit(status)
    assert os.waitpid(child, 0)[1] == 0


def main(folder: Path) -> None:
    """Print what was started without a kill, and with one at each boundary."""
    first = folder / "first"

    def begin() -> None:
        prepare(first, "", runs=PLACES)
        with opened(first) as instance:
            for location in ("loud", "loud", "quiet"):
                submit(instance, location)

    apart(begin)
    undisturbed = folder / "undisturbed"
    copied(first, undisturbed)
    killed, boundaries = in_a_daemon(undisturbed, None, 1)
    assert not killed
    found = list[list[str]]()
    for at in range(boundaries):
        place = folder / f"killed-{at}"
        copied(first, place)
        assert in_a_daemon(place, at, 1)[0]
        assert not in_a_daemon(place, None, 2)[0]
        found.append(started(place))
    print(json.dumps({"undisturbed": started(undisturbed), "killed": found}))


def started(folder: Path) -> list[str]:
    return (folder / "launched").read_text().split()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
