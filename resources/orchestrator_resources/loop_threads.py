"""An event loop in a thread of its own, for synchronous code that must drive asynchronous work for a while."""

import asyncio
import threading
from collections.abc import Coroutine
from concurrent.futures import CancelledError, Future
from typing import Any, Final, TypeVar

T = TypeVar("T")

_STOP_SECONDS: Final = 30.0


class LoopThread:
    """Runs coroutines of any thread on one loop; ends when closed, and never keeps the process alive."""

    def __init__(self, name: str) -> None:
        """Start the thread; `name` shows in stack dumps."""
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name=name, daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run `work` to its end and return what it returns.

        When the waiting thread is interrupted (a terminated Dagster run raises in it), `work` is cancelled and
        given time to clean up before the interruption goes on.
        """
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except BaseException:
            if not future.done():
                _cancel(future)
            raise

    def close(self) -> None:
        """Stop the loop; what still runs on it is abandoned."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_STOP_SECONDS)
        if not self._thread.is_alive():
            self._loop.close()


def _cancel(future: "Future[Any]") -> None:
    future.cancel()
    try:
        future.exception(_STOP_SECONDS)
    except (CancelledError, TimeoutError):
        return
