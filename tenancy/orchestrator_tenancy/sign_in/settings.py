"""The file that tells who may sign in: YAML, read strictly; secrets stand elsewhere, and it says where."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal
from urllib.parse import urlsplit

from orchestrator_gateway.secret_sources import SecretMissing, SecretSource
from orchestrator_gateway.settings_files import BadConfiguration, read_settings
from orchestrator_tenancy.identities import Role

Algorithm = Literal[
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "Ed25519", "EdDSA"
]
"""What a provider may sign with: keys that only it has. `none` and the HS family are not among them."""

SECRET_CHARACTERS: Final = 32
"""A shorter secret could be guessed by whoever has a sealed text."""

_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})


@dataclass(frozen=True, kw_only=True)
class ProviderSettings:
    """An OpenID provider, such as Keycloak, Auth0 or Dex.

    Attributes:
        issuer: As the provider writes it, to the last slash; its metadata is below it.
        client_id: What it calls this platform.
        client_secret: Where the secret of this client stands; None for a public client, which PKCE alone protects.
        client_authentication: How the secret is sent; None takes what the provider's metadata offers.
        scopes: What is asked for.
        parameters: Further ones of the authorization request, such as `organization` of Auth0.
        algorithms: That an ID token may be signed with.
        userinfo: Whether claims are asked for at the userinfo endpoint, too: some providers tell groups only there.
        leeway_seconds: How far the provider's clock may be from this one.
        timeout_seconds: For how long an answer is waited for.
        certificates: Path of a file with the authorities that are trusted; None trusts those of the machine.
    """

    issuer: str
    client_id: str
    client_secret: SecretSource | None = None
    client_authentication: Literal["basic", "post"] | None = None
    scopes: tuple[str, ...] = ("openid", "profile", "email")
    parameters: Mapping[str, str] = field(default_factory=dict[str, str])
    algorithms: tuple[Algorithm, ...] = ("RS256", "PS256", "ES256", "Ed25519", "EdDSA")
    userinfo: bool = False
    leeway_seconds: float = 60.0
    timeout_seconds: float = 10.0
    certificates: str | None = None

    def __post_init__(self) -> None:
        """Refuse what no provider takes."""
        check_url("issuer", self.issuer)
        if not self.client_id:
            raise ValueError("client_id: it is empty")
        if "openid" not in self.scopes:
            raise ValueError("scopes: 'openid' must be among them, or there is no ID token")
        if not self.algorithms:
            raise ValueError("algorithms: there must be one at least")
        if not 0 <= self.leeway_seconds <= 300:
            raise ValueError(
                "leeway_seconds: at most five minutes, or old tokens would be as good as new ones"
            )
        if not 0 < self.timeout_seconds <= 60:
            raise ValueError("timeout_seconds: more than 0, and at most 60")
        taken = {"client_id", "redirect_uri", "response_type", "scope", "state", "nonce"}
        taken |= {"code_challenge", "code_challenge_method"}
        if both := sorted(taken & set(self.parameters)):
            raise ValueError(f"parameters: {both[0]!r} is set by the sign-in itself")


@dataclass(frozen=True, kw_only=True)
class ClaimRule:
    """What a claim of the provider makes of somebody.

    Attributes:
        claim: Its name, or names of nested ones with dots between, such as `realm_access.roles`; a text or a list of
            texts.
        value: A regular expression that all of the text matches; groups `tenant` and `role` may name these.
        tenant: In which they have the role; None takes the group `tenant`. Operators have none.
        role: What they may do; None takes the group `role`, which makes nobody an operator.
    """

    claim: str
    value: str
    tenant: str | None = None
    role: Role | None = None

    def __post_init__(self) -> None:
        """Refuse a rule that could name no tenant or no role."""
        try:
            groups = re.compile(self.value).groupindex
        except re.error as error:
            raise ValueError(f"value: no regular expression: {error}") from error
        if self.role is Role.OPERATOR:
            if self.tenant is not None or "tenant" in groups:
                raise ValueError("tenant: an operator is of no tenant; leave it out")
        elif self.tenant is None and "tenant" not in groups:
            raise ValueError("tenant: name one here, or by a group (?P<tenant>…) of the value")
        if self.role is None and "role" not in groups:
            raise ValueError("role: name one here, or by a group (?P<role>…) of the value")


@dataclass(frozen=True, kw_only=True)
class SessionSettings:
    """How long a sign-in holds.

    Attributes:
        idle_seconds: Without a request.
        longest_seconds: However much it is used; what the provider says of somebody is as old at most.
        recheck_seconds: After how long a server sees at the latest that a session or token was revoked, also for a
            websocket that is open.
        of_one_person: Most at once; the oldest ends for a further one.
    """

    idle_seconds: float = 4 * 3600.0
    longest_seconds: float = 12 * 3600.0
    recheck_seconds: float = 2.0
    of_one_person: int = 20

    def __post_init__(self) -> None:
        """Refuse sessions that could not be used."""
        if not 60 <= self.idle_seconds <= self.longest_seconds <= 30 * 86400:
            raise ValueError("idle_seconds: at least 60, at most longest_seconds, which is at most 30 days")
        if not 0.1 <= self.recheck_seconds <= 30:
            raise ValueError("recheck_seconds: from 0.1 to 30")
        if self.of_one_person < 1:
            raise ValueError("of_one_person: at least 1")


@dataclass(frozen=True, kw_only=True)
class ThrottleSettings:
    """How often one server lets people try.

    Attributes:
        per_minute: Sign-ins of all together.
        per_address_per_minute: Steps of sign-ins from one address; a sign-in has two.
        refused_per_address_per_minute: Sessions and tokens that are none, from one address.
        trusted_proxies: How many proxies stand before the server, each of which adds an address to `X-Forwarded-For`;
            with 0 nothing that a client writes there counts.
    """

    per_minute: int = 600
    per_address_per_minute: int = 60
    refused_per_address_per_minute: int = 60
    trusted_proxies: int = 0

    def __post_init__(self) -> None:
        """Refuse what would let nobody in."""
        if min(self.per_minute, self.per_address_per_minute, self.refused_per_address_per_minute) < 1:
            raise ValueError("at least 1 a minute, or nobody could sign in")
        if self.trusted_proxies < 0:
            raise ValueError("trusted_proxies: at least 0")


@dataclass(frozen=True, kw_only=True)
class SignInSettings:
    """What the sign-in is told by its file.

    Attributes:
        url: Where people find the platform, as their browsers show it; the provider sends them back to
            `URL/sign-in/callback`.
        secret: Where a secret of this platform stands, which every server has; seals what is personal, what browsers
            keep, and the audit log.
        former_secrets: Where those before it stand, so that what they sealed can still be read.
        provider: Who knows the people.
        claims: What its claims make of them; `members` of tenants count besides.
        name: The claim with what people call somebody.
        sessions: How long a sign-in holds.
        throttle: How often people may try.
    """

    url: str
    secret: SecretSource
    provider: ProviderSettings
    former_secrets: tuple[SecretSource, ...] = ()
    claims: tuple[ClaimRule, ...] = ()
    name: str = "name"
    sessions: SessionSettings = field(default_factory=SessionSettings)
    throttle: ThrottleSettings = field(default_factory=ThrottleSettings)

    def __post_init__(self) -> None:
        """Refuse an address that browsers would not keep cookies for."""
        check_url("url", self.url)
        if self.url.endswith("/"):
            raise ValueError(f"url: leave out the last slash of {self.url!r}")

    @property
    def origin(self) -> str:
        """What browsers call where a page is from: scheme, name and port."""
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc.lower()}"

    @property
    def prefix(self) -> str:
        """The path that everything is below; empty where it is below the root."""
        return urlsplit(self.url).path

    @property
    def https(self) -> bool:
        """Whether browsers come by TLS."""
        return self.url.startswith("https://")


@dataclass(frozen=True, kw_only=True)
class Secrets:
    """What the settings' sources hold.

    Attributes:
        sealing: The platform's own, the present one first.
        client: Of this client of the provider; None for a public one.
    """

    sealing: tuple[str, ...] = field(repr=False)
    client: str | None = field(repr=False)


def load(file: Path) -> SignInSettings:
    """Return what a file says; secrets are not read.

    Raises:
        BadConfiguration: It cannot be read, or something in it is wrong.
    """
    return read_settings(SignInSettings, file)


def read_secrets(settings: SignInSettings, folder: Path) -> Secrets:
    """Return the secrets as they are now.

    Args:
        settings: Where they stand.
        folder: What relative paths are relative to.

    Raises:
        BadConfiguration: One is missing, or is too short.
    """
    sealing = list[str]()
    for number, source in enumerate((settings.secret, *settings.former_secrets)):
        place = "secret" if number == 0 else f"former_secrets[{number - 1}]"
        found = _read(source, folder, place)
        if len(found) < SECRET_CHARACTERS:
            raise BadConfiguration(
                f"{place}: has {len(found)} characters, fewer than {SECRET_CHARACTERS}; use `openssl rand -hex 32` "
            )
        sealing.append(found)
    client = settings.provider.client_secret
    return Secrets(
        sealing=tuple(sealing),
        client=None if client is None else _read(client, folder, "provider.client_secret"),
    )


def _read(source: SecretSource, folder: Path, place: str) -> str:
    try:
        return source.read(folder)
    except SecretMissing as error:
        raise BadConfiguration(f"{place}: {error}") from error


def check_url(place: str, url: str) -> None:
    """Refuse what is no address, or one whose secrets everybody on the way could read.

    Raises:
        ValueError: It is none; the text names the place.
    """
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise ValueError(f"{place}: {url!r:.200} is no address: {error}") from error
    if parts.scheme not in ("https", "http") or not host or not url.isascii() or not url.isprintable():
        raise ValueError(f"{place}: {url!r:.200} is no address such as https://orchestrator.example")
    if parts.query or parts.fragment or parts.username is not None or " " in url:
        raise ValueError(f"{place}: {url!r:.200} may have a host, a port and a path only")
    if parts.scheme == "http" and host not in _LOOPBACK:
        raise ValueError(f"{place}: {url!r:.200} must begin with https://, except for this machine itself")
