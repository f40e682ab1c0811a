"""The base URL of a gateway that others run, and how guests that may have no way to resolve names find it."""

import ipaddress
import socket
import urllib.parse
from dataclasses import dataclass


class BadGatewayUrl(ValueError):
    """What was written is none; the text says how one looks."""


@dataclass(frozen=True, kw_only=True)
class GatewayUrl:
    """A base URL, without `/v1`. Make it with `parse`.

    Attributes:
        scheme: `http` or `https`.
        host: Name or number.
        port: Where it listens.
    """

    scheme: str
    host: str
    port: int

    @classmethod
    def parse(cls, text: str, setting: str = "gateway_url") -> "GatewayUrl":
        """Return what a URL says.

        Args:
            text: The URL.
            setting: Where it was written, for who wrote it.

        Raises:
            BadGatewayUrl: It is none of a gateway.
        """
        try:
            parts = urllib.parse.urlsplit(text)
            port = parts.port
        except ValueError:
            raise _bad(text, setting) from None
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.path.strip("/") or port == 0:
            raise _bad(text, setting)
        return cls(
            scheme=parts.scheme,
            host=parts.hostname,
            port=port or (443 if parts.scheme == "https" else 80),
        )

    @property
    def name(self) -> str | None:
        """What guests must resolve, since a certificate names it; None where a number can take its place."""
        return self.host if self.scheme == "https" and not self._is_number() else None

    def by_number(self) -> str:
        """Return the same URL with the number of the host, unless guests must resolve its name.

        Raises:
            OSError: It cannot be resolved.
        """
        host = self.host
        if self.name is None and not self._is_number():
            host = str(socket.getaddrinfo(host, self.port, type=socket.SOCK_STREAM)[0][4][0])
        return f"{self.scheme}://{f'[{host}]' if ':' in host else host}:{self.port}"

    def _is_number(self) -> bool:
        try:
            ipaddress.ip_address(self.host)
        except ValueError:
            return False
        return True


def _bad(text: str, setting: str) -> BadGatewayUrl:
    return BadGatewayUrl(f"{setting} is {text!r}; it must be such as http://gateway:8900, without /v1")
