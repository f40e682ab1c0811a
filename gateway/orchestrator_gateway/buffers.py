"""How much memory requests and answers take at once: bounded, and no tenant can take all of it."""

import contextlib
from collections import Counter
from collections.abc import Generator


class BuffersFull(Exception):
    """Requests and answers that are on their way take as much memory as they may."""


class Account:
    """What one call holds."""

    def __init__(self, buffers: "Buffers", tenant: str) -> None:
        """Begin with nothing."""
        self._buffers = buffers
        self._tenant = tenant
        self.size = 0

    def add(self, size: int) -> None:
        """Note some bytes more.

        Raises:
            BuffersFull: They are too many; the caller drops them.
        """
        self._buffers.take(self._tenant, size)
        self.size += size


class Buffers:
    """Counts the bytes that calls hold.

    Args:
        most: How many they may be together; one tenant may hold half of them.
    """

    def __init__(self, most: int) -> None:
        """Begin with none."""
        self._most = most
        self._held = Counter[str]()
        self._total = 0

    @property
    def total(self) -> int:
        """How many are held now."""
        return self._total

    @contextlib.contextmanager
    def account(self, tenant: str) -> Generator[Account]:
        """Count for one call; what it held is free at the end of the block."""
        account = Account(self, tenant)
        try:
            yield account
        finally:
            self._total -= account.size
            self._held[tenant] -= account.size
            if not self._held[tenant]:
                del self._held[tenant]

    def take(self, tenant: str, size: int) -> None:
        """Count bytes of a tenant; use `Account.add`."""
        if self._total + size > self._most or self._held[tenant] + size > self._most // 2:
            raise BuffersFull
        self._total += size
        self._held[tenant] += size
