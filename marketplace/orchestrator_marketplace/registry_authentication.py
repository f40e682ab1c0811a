"""Who asks a registry: credentials of Docker's own file, as a password or as a token that a password gets.

https://distribution.github.io/distribution/spec/auth/token/
"""

import base64
import binascii
import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Final

import httpx

from orchestrator_marketplace.registry_errors import RegistryDenied

_PARAMETER: Final = re.compile(r'(\w+)="([^"]*)"')


def docker_credentials(registry: str) -> tuple[str, str] | None:
    """Return the user and password that `docker login` or `oras login` kept in a file; None when there are none.

    Helpers that keep them elsewhere are not asked.

    Raises:
        RegistryDenied: The file cannot be read.
    """
    folder = Path(os.environ.get("DOCKER_CONFIG") or Path.home() / ".docker")
    file = folder / "config.json"
    if not file.is_file():
        return None
    try:
        kept = json.loads(file.read_bytes()).get("auths", {}).get(registry, {}).get("auth")
        if not kept:
            return None
        user, colon, password = base64.b64decode(kept, validate=True).decode().partition(":")
        if not colon:
            raise ValueError("no user and password")
    except (OSError, ValueError, AttributeError, TypeError, binascii.Error) as error:
        raise RegistryDenied(f"{file}: cannot be read: {type(error).__name__}") from error
    return user, password


class RegistryAuthentication:
    """What a registry wants to be shown, once it has said so.

    Args:
        credentials: User and password; None asks as nobody.
        plain: Whether passwords may be sent by plain HTTP.
    """

    def __init__(self, credentials: tuple[str, str] | None, *, plain: bool) -> None:
        """Begin with nothing shown."""
        self._credentials = credentials
        self._plain = plain
        self.headers: dict[str, str] = {}

    def answer(self, challenge: str, get: Callable[[httpx.URL, dict[str, str]], tuple[int, bytes]]) -> bool:
        """Change the headers to what a refused request was told to show; tell whether there is anything to show.

        Args:
            challenge: The header `www-authenticate`.
            get: Asks an address for its status and a short body.

        Raises:
            RegistryDenied: The token is to be had where passwords are not sent, or is not given.
        """
        scheme, _, said = challenge.partition(" ")
        if scheme.lower() == "bearer":
            self.headers = {"authorization": f"Bearer {self._token(dict(_PARAMETER.findall(said)), get)}"}
            return True
        if scheme.lower() == "basic" and self._credentials is not None:
            self.headers = {"authorization": _basic(self._credentials)}
            return True
        return False

    def _token(
        self, said: dict[str, str], get: Callable[[httpx.URL, dict[str, str]], tuple[int, bytes]]
    ) -> str:
        try:
            realm = httpx.URL(said.get("realm", ""))
        except httpx.InvalidURL as error:
            raise RegistryDenied("the registry names no address that gives tokens") from error
        if realm.scheme != "https" and not (self._plain and realm.scheme == "http"):
            raise RegistryDenied(
                f"the registry names {str(realm)!r:.100}, where no password is sent: no https"
            )
        wanted = {key: value for key, value in said.items() if key in ("service", "scope")}
        shown = {} if self._credentials is None else {"authorization": _basic(self._credentials)}
        status, content = get(realm.copy_merge_params(wanted), shown)
        try:
            answer = json.loads(content)
            token = answer.get("token") or answer.get("access_token")
            if status != 200 or not isinstance(token, str) or not re.fullmatch(r"[\x21-\x7e]+", token):
                raise ValueError(f"status {status}")
        except (ValueError, AttributeError) as error:
            raise RegistryDenied(
                "the registry gives no token: log in with `docker login` or `oras login`", cause=str(error)
            ) from error
        return token


def _basic(credentials: tuple[str, str]) -> str:
    return "Basic " + base64.b64encode(":".join(credentials).encode()).decode()
