"""How often something may be tried: a bucket for each who tries, and a bound on how many buckets there are."""

import ipaddress
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Any, Final

_BUCKETS: Final = 10_000
"""About 2 MB; who comes back after so many others begins with a full bucket."""

_FORWARDED_BYTES: Final = 4_096


class Throttle:
    """Token buckets, one for each key.

    Args:
        per_minute: What a bucket gets; it holds as many.
        now: Clock, in seconds, that never goes back.
        buckets: Most that are kept.
    """

    def __init__(
        self, per_minute: int, *, now: Callable[[], float] = time.monotonic, buckets: int = _BUCKETS
    ) -> None:
        self._most = float(per_minute)
        self._per_second = per_minute / 60
        self._now = now
        self._bound = buckets
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wait(self, key: str) -> float:
        """Return how many seconds somebody must wait for the next try; 0 when they need not. Takes nothing."""
        left = self._left(key)
        return 0.0 if left >= 1 else (1 - left) / self._per_second

    def take(self, key: str) -> float:
        """Take one try when there is one; see `wait`."""
        left = self._left(key)
        if left < 1:
            return (1 - left) / self._per_second
        self._buckets[key] = (left - 1, self._now())
        self._buckets.move_to_end(key)
        if len(self._buckets) > self._bound:
            self._buckets.popitem(last=False)
        return 0.0

    def __len__(self) -> int:
        """Return how many buckets are kept."""
        return len(self._buckets)

    def _left(self, key: str) -> float:
        left, at = self._buckets.get(key, (self._most, self._now()))
        return min(self._most, left + (self._now() - at) * self._per_second)


def client_address(client: Any, headers: Iterable[tuple[bytes, bytes]], trusted_proxies: int) -> str:
    """Return from where a request is, as the key of a throttle.

    Args:
        client: Host and port of the connection; None where it has none.
        headers: Of the request.
        trusted_proxies: How many of the last addresses of `X-Forwarded-For` proxies wrote.

    Returns:
        An IPv4 address, or the first half of an IPv6 address, since whoever has one has all of its other halves.
    """
    host = str(client[0]) if client else ""
    if trusted_proxies:
        written = b",".join(value for name, value in headers if name == b"x-forwarded-for")[
            -_FORWARDED_BYTES:
        ]
        told = [part.strip() for part in written.decode("latin-1").split(",") if part.strip()]
        if len(told) >= trusted_proxies:
            host = told[-trusted_proxies]
    try:
        address = ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return "elsewhere"  # one bucket for what is no address
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        return str(ipaddress.ip_network((int(address), 64), strict=False))
    return str(address)
