"""Sending to addresses that strangers name: to public ones alone, unless the operator names the host.

A name is resolved once, for the connection itself, so that nobody answers for it differently between look and use.
"""

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import Iterable, Mapping
from typing import Final
from urllib.parse import SplitResult, urlsplit

import httpcore

from orchestrator_runtimes.errors import AgentError, ErrorCode

SECONDS: Final = 10.0
"""For all of one delivery: name, connection, TLS, answer."""

_LONGEST_URL: Final = 500
# networks in which addresses of other ones are wrapped
_WRAPPING: Final = tuple(
    map(ipaddress.ip_network, ("64:ff9b::/96", "64:ff9b:1::/48", "2002::/16", "2001::/32"))
)


class TargetRefused(AgentError):
    """Nothing is sent there, now or later."""

    def __init__(self, message: str) -> None:
        """Say why."""
        super().__init__(ErrorCode.INVALID_INPUT, message)


class Undelivered(AgentError):
    """Nothing was taken there now; it may be later."""

    def __init__(self, message: str) -> None:
        """Say why."""
        super().__init__(ErrorCode.STATE_UNAVAILABLE, message)


def check_target(url: str, hosts: Iterable[str]) -> SplitResult:
    """Return the parts of an address.

    Args:
        url: As a stranger wrote it.
        hosts: To which anything may be sent, also by plain HTTP and within private networks.

    Raises:
        TargetRefused: It is none, or never one that anything is sent to.
    """
    if len(url) > _LONGEST_URL or not url.isascii() or not url.isprintable() or " " in url:
        raise TargetRefused(f"url: must be at most {_LONGEST_URL} characters of ASCII without spaces")
    try:
        parts = urlsplit(url)
        host, _port = parts.hostname, parts.port
    except ValueError as error:
        raise TargetRefused(f"url: {url!r} is no address") from error
    if not host or parts.username is not None or parts.password is not None or parts.fragment:
        raise TargetRefused(f"url: {url!r} must be https://host/path, without user, password and fragment")
    if host in hosts and parts.scheme in ("http", "https"):
        return parts
    if parts.scheme != "https":
        raise TargetRefused(f"url: {url!r} must begin with https://")
    try:
        public = is_public(host)
    except ValueError:
        public = "." in host  # a name, which is looked up when something is sent
    if not public:
        raise TargetRefused(
            f"url: {host} is no public address, and the marketplace's operator does not name it"
        )
    return parts


def is_public(address: str) -> bool:
    """Tell whether an IP address is everybody's.

    Raises:
        ValueError: It is none.
    """
    ip = ipaddress.ip_address(address)
    if isinstance(ip, ipaddress.IPv6Address):
        if ip.ipv4_mapped is not None:
            ip = ip.ipv4_mapped
        elif any(ip in network for network in _WRAPPING) or ip.scope_id is not None:
            return False
    return ip.is_global and not ip.is_multicast and not ip.is_reserved


class WebhookSender:
    """Sends messages; see the module.

    Args:
        hosts: To which anything may be sent, also by plain HTTP and within private networks.
        context: Of TLS; None trusts what this machine trusts.
    """

    def __init__(self, hosts: Iterable[str] = (), context: ssl.SSLContext | None = None) -> None:
        """Connect to nothing yet."""
        self._hosts = frozenset(hosts)
        self._context = context or ssl.create_default_context()

    async def send(self, url: str, headers: Mapping[str, str], body: bytes) -> int:
        """Send a message, follow nowhere, read no more than how it was answered; return the status.

        Raises:
            TargetRefused: Nothing is sent there.
            Undelivered: Nobody answered.
        """
        parts = check_target(url, self._hosts)
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        port = parts.port or (443 if parts.scheme == "https" else 80)
        place = httpcore.URL(scheme=parts.scheme, host=parts.hostname or "", port=port, target=target)
        sent = {
            "host": parts.netloc,
            "content-type": "application/json",
            "content-length": str(len(body)),
            "user-agent": "agent-orchestrator-marketplace",
            **headers,
        }
        backend = _PublicBackend(self._hosts)
        try:
            async with (
                asyncio.timeout(SECONDS),
                httpcore.AsyncConnectionPool(self._context, network_backend=backend, retries=0) as pool,
                pool.stream("POST", place, headers=list(sent.items()), content=body) as response,
            ):
                return response.status
        except TimeoutError as error:
            raise Undelivered(f"{parts.netloc} did not answer within {SECONDS:.0f} s") from error
        except (httpcore.NetworkError, httpcore.ProtocolError, httpcore.TimeoutException, OSError) as error:
            raise Undelivered(
                f"{parts.netloc} cannot be reached: {str(error)[:200] or type(error).__name__}"
            ) from error


class _PublicBackend(httpcore.AsyncNetworkBackend):
    def __init__(self, hosts: frozenset[str]) -> None:
        self._hosts = hosts
        self._network: httpcore.AsyncNetworkBackend = httpcore.AnyIOBackend()  # pyright: ignore[reportAttributeAccessIssue]  # it also sees the stand-in that httpcore has where anyio is missing

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
        addresses = [str(address[0]) for *_, address in found]
        if host not in self._hosts:
            addresses = [address for address in addresses if is_public(address)]
        if not addresses:
            raise TargetRefused(
                f"url: {host} has no public address, and the marketplace's operator does not name it"
            )
        return await self._network.connect_tcp(addresses[0], port, timeout, local_address, socket_options)

    async def sleep(self, seconds: float) -> None:
        await self._network.sleep(seconds)
