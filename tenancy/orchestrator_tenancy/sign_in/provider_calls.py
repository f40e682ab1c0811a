"""Calls of a provider: bounded in time, size and number, and never sent on to another address."""

import asyncio
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, cast

import aiohttp

from orchestrator_runtimes.json_values import NotJson, parse
from orchestrator_tenancy.sign_in.refusals import ProviderUnavailable

LONGEST_BYTES: Final = 1_048_576
_AT_ONCE: Final = 16
"""Most calls on their way: a slow provider must not fill this server's memory."""


class ProviderCalls:
    """Asks a provider for JSON objects.

    Args:
        timeout_seconds: For a call, with the wait for its turn.
        certificates: File of the authorities that are trusted; None trusts those of the machine.

    Raises:
        OSError: The certificates cannot be read.
    """

    def __init__(self, timeout_seconds: float, certificates: Path | None = None) -> None:
        self._seconds = timeout_seconds
        self._ssl = ssl.create_default_context(cafile=certificates)
        self._turns = asyncio.Semaphore(_AT_ONCE)

    async def get(self, url: str, headers: Mapping[str, str] | None = None) -> Mapping[str, Any]:
        """Return the object at an address.

        Raises:
            ProviderUnavailable: There is none.
        """
        status, found = await self._ask("GET", url, headers or {}, None)
        if status != 200:
            raise ProviderUnavailable(f"{url} answers with status {status}")
        return found

    async def post(self, url: str, headers: Mapping[str, str], body: str) -> tuple[int, Mapping[str, Any]]:
        """Return the status and the object that a form is answered with; 5xx counts as no answer.

        Raises:
            ProviderUnavailable: There is none.
        """
        return await self._ask("POST", url, headers, body)

    async def _ask(
        self, method: str, url: str, headers: Mapping[str, str], body: str | None
    ) -> tuple[int, Mapping[str, Any]]:
        try:
            async with asyncio.timeout(self._seconds), self._turns, aiohttp.ClientSession() as session:
                asked = session.request(
                    method,
                    url,
                    data=body,
                    headers={"Accept": "application/json", **headers},
                    ssl=self._ssl,
                    allow_redirects=False,
                )
                async with asked as response:
                    content = await _bounded(response)
                    status = response.status
        except TimeoutError as error:
            raise ProviderUnavailable(f"{url} does not answer within {self._seconds:g} s") from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise ProviderUnavailable(f"{url} cannot be asked: {type(error).__name__}") from error
        if status >= 500 or 300 <= status < 400:
            raise ProviderUnavailable(f"{url} answers with status {status}")
        try:
            found = parse(content)
        except NotJson as error:
            raise ProviderUnavailable(f"{url} does not answer with JSON (status {status})") from error
        if not isinstance(found, Mapping):
            raise ProviderUnavailable(f"{url} does not answer with a JSON object")
        return status, cast("Mapping[str, Any]", found)


async def _bounded(response: aiohttp.ClientResponse) -> bytes:
    content = bytearray()
    async for chunk in response.content.iter_any():
        content += chunk
        if len(content) > LONGEST_BYTES:
            raise ProviderUnavailable(f"{response.url} answers with more than {LONGEST_BYTES} bytes")
    return bytes(content)
