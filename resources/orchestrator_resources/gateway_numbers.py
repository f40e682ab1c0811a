"""The number of a gateway's host, for guests that resolve no names: it is asked for beside those who wait for it."""

import threading
import time
from collections.abc import Callable
from typing import Final

RESOLVED_SECONDS: Final = 5.0
"""How long a name means the same host: an execution that met one that was replaced is tried again after it."""


class GatewayNumber:
    """The base URL of a gateway by the number of its host. A number that was found works until there is another one.

    Args:
        resolve: Returns it; may take as long as a name server does, and raises `OSError`.
        seconds: After which it is asked for again.
    """

    def __init__(self, resolve: Callable[[], str], seconds: float = RESOLVED_SECONDS) -> None:
        """Begin without one."""
        self._resolve = resolve
        self._seconds = seconds
        self._url: str | None = None
        self._asked = 0.0
        self._asking: threading.Thread | None = None

    def current(self) -> str:
        """Return the last one; only where there is none yet does this wait for a name server.

        Raises:
            OSError: There is none, and it cannot be had.
        """
        if self._url is None:
            return self.refresh()
        due = time.monotonic() > self._asked + self._seconds
        if due and (self._asking is None or not self._asking.is_alive()):
            self._asking = threading.Thread(target=self.refresh, name="gateway-number", daemon=True)
            self._asking.start()
        return self._url

    def refresh(self) -> str:
        """Ask for it now, and return it: the last one, where nobody tells.

        Raises:
            OSError: There is none, and it cannot be had.
        """
        try:
            self._url = self._resolve()
        except OSError:
            if self._url is None:
                raise
        self._asked = time.monotonic()
        return self._url
