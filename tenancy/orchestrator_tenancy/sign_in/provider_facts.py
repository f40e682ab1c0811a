"""What a provider publishes of itself: its metadata and its keys, fetched when needed and kept for a while."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar, cast
from urllib.parse import urlsplit

from joserfc.errors import JoseError
from joserfc.jwk import JWKRegistry, Key, KeySet

from orchestrator_tenancy.sign_in.provider_calls import ProviderCalls
from orchestrator_tenancy.sign_in.refusals import ProviderUnavailable

T = TypeVar("T")

FRESH_SECONDS: Final = 3600.0
"""After how long it is asked again."""

STALE_SECONDS: Final = 86400.0
"""For how long it is used when the provider does not answer."""

PAUSE_SECONDS: Final = 5.0
"""After a failure, and between two looks for a key that was not there: whoever forges tokens must not make calls."""

_MOST_KEYS: Final = 100
_LONGEST_URL: Final = 2_000


@dataclass(frozen=True, kw_only=True)
class Metadata:
    """Of OpenID Connect Discovery 1.0, what a sign-in needs.

    Attributes:
        authorization_endpoint: Where browsers are sent.
        token_endpoint: Where codes are redeemed.
        jwks_uri: Where the keys are.
        userinfo_endpoint: None where there is none.
        end_session_endpoint: Where browsers are sent to sign out; None where there is none.
        authentications: How a client may send its secret.
        names_itself: Whether an answer to a browser must say whose it is (RFC 9207).
    """

    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    userinfo_endpoint: str | None
    end_session_endpoint: str | None
    authentications: Sequence[str]
    names_itself: bool


def read_metadata(document: Mapping[str, Any], issuer: str) -> Metadata:
    """Return the metadata that a document holds.

    Args:
        document: As it was fetched.
        issuer: Whose it must be, to the last letter.

    Raises:
        ProviderUnavailable: It is another's, or lacks what a sign-in needs.
    """
    told = document.get("issuer")
    if told != issuer:
        raise ProviderUnavailable(
            f"the provider calls itself {told!r:.200}, the settings call it {issuer!r}: write it as the provider does"
        )

    def endpoint(name: str) -> str | None:
        value = document.get(name)
        if value is None:
            return None
        if not isinstance(value, str) or not _may_be_asked(value, issuer):
            raise ProviderUnavailable(f"the provider's {name} is no address that can be used: {value!r:.200}")
        return value

    def needed(name: str) -> str:
        value = endpoint(name)
        if value is None:
            raise ProviderUnavailable(f"the provider's metadata has no {name}")
        return value

    ways = document.get("token_endpoint_auth_methods_supported", ["client_secret_basic"])
    texts = cast("list[object]", ways) if isinstance(ways, list) else []
    return Metadata(
        authorization_endpoint=needed("authorization_endpoint"),
        token_endpoint=needed("token_endpoint"),
        jwks_uri=needed("jwks_uri"),
        userinfo_endpoint=endpoint("userinfo_endpoint"),
        end_session_endpoint=endpoint("end_session_endpoint"),
        authentications=tuple(way for way in texts if isinstance(way, str)),
        names_itself=document.get("authorization_response_iss_parameter_supported") is True,
    )


def _may_be_asked(url: str, issuer: str) -> bool:
    """Return whether an address is one, and no less protected than that of the issuer."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return False
    schemes = ("https",) if issuer.startswith("https:") else ("https", "http")
    plain = url.isascii() and url.isprintable() and " " not in url and len(url) <= _LONGEST_URL
    return plain and parts.scheme in schemes and bool(host) and not parts.fragment


def read_keys(document: Mapping[str, Any]) -> KeySet:
    """Return the public keys of a document; those of kinds that are not known here, and shared secrets, are left out.

    Raises:
        ProviderUnavailable: There is none left.
    """
    written = document.get("keys")
    entries = cast("list[object]", written) if isinstance(written, list) else []
    keys = list[Key]()
    for entry in entries[:_MOST_KEYS]:
        if not isinstance(entry, dict):
            continue
        fields = cast("dict[str, Any]", entry)
        if fields.get("kty") not in ("RSA", "EC", "OKP") or fields.get("use", "sig") != "sig":
            continue
        try:
            key = JWKRegistry.import_key(fields)
            key.get_op_key("verify")  # told now where its numbers are none
        except (JoseError, ValueError, TypeError, KeyError):
            continue
        keys.append(key)
    if not keys:
        raise ProviderUnavailable("the provider publishes no key that can be used")
    return KeySet(keys)


class _Kept(Generic[T]):
    """Something that is fetched once by all who want it, and kept."""

    def __init__(self, fetch: Callable[[], Awaitable[T]], now: Callable[[], float]) -> None:
        self._fetch, self._now = fetch, now
        self._turn = asyncio.Lock()
        self._found: T | None = None
        self._at = self._tried = float("-inf")
        self._failed: ProviderUnavailable | None = None

    async def get(self, *, newer_than: float | None = None) -> tuple[T, float]:
        """Return it and when it was fetched; fetched anew when it is not fresh, or not newer than a moment."""
        async with self._turn:
            if not self._wanted(newer_than):
                return self._present()
            self._tried = self._now()
            try:
                self._found, self._failed = await self._fetch(), None
                self._at = self._now()
            except ProviderUnavailable as error:
                self._failed = error
            return self._present()

    def _wanted(self, newer_than: float | None) -> bool:
        if self._now() - self._tried < PAUSE_SECONDS:
            return False
        if newer_than is not None:
            return self._at <= newer_than
        return self._now() - self._at >= FRESH_SECONDS

    def _present(self) -> tuple[T, float]:
        if self._found is not None and self._now() - self._at < STALE_SECONDS:
            return self._found, self._at
        assert self._failed is not None, "what was never found failed to be"
        raise ProviderUnavailable(str(self._failed))


class ProviderFacts:
    """Metadata and keys of one provider.

    Args:
        issuer: The provider.
        calls: How it is asked.
        now: Clock, in seconds, that never goes back.
    """

    def __init__(self, issuer: str, calls: ProviderCalls, now: Callable[[], float] = time.monotonic) -> None:
        self._issuer, self._calls = issuer, calls
        self._metadata = _Kept(self._fetch_metadata, now)
        self._keys = _Kept(self._fetch_keys, now)

    async def metadata(self) -> Metadata:
        """Return the metadata.

        Raises:
            ProviderUnavailable: It cannot be had.
        """
        return (await self._metadata.get())[0]

    async def keys(self, newer_than: float | None = None) -> tuple[KeySet, float]:
        """Return the keys and when they were fetched.

        Args:
            newer_than: Fetches them again when they are not, as they may have been changed; not more often than every
                few seconds.

        Raises:
            ProviderUnavailable: They cannot be had.
        """
        return await self._keys.get(newer_than=newer_than)

    async def _fetch_metadata(self) -> Metadata:
        url = f"{self._issuer.removesuffix('/')}/.well-known/openid-configuration"
        return read_metadata(await self._calls.get(url), self._issuer)

    async def _fetch_keys(self) -> KeySet:
        return read_keys(await self._calls.get((await self.metadata()).jwks_uri))
