"""A sign-in as its provider sees it: authorization code with PKCE (OpenID Connect Core 1.0, RFC 6749, RFC 7636)."""

import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlencode

from authlib.oauth2 import ClientAuth, OAuth2Client
from authlib.oauth2.rfc6749.parameters import prepare_token_request

from orchestrator_tenancy.sign_in.id_tokens import KeyUnknown, verified_claims
from orchestrator_tenancy.sign_in.provider_calls import ProviderCalls
from orchestrator_tenancy.sign_in.provider_facts import Metadata, ProviderFacts
from orchestrator_tenancy.sign_in.refusals import ProviderUnavailable, SignInRefused
from orchestrator_tenancy.sign_in.settings import ProviderSettings

_FORM: Final = {"Content-Type": "application/x-www-form-urlencoded"}


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """A sign-in on its way; only the browser that began it keeps this.

    Attributes:
        state: Comes back with the browser; binds the answer to it.
        nonce: Comes back in the token; binds the token to it.
        verifier: Redeems the code; binds the code to it.
    """

    state: str
    nonce: str
    verifier: str


def new_attempt(state: str) -> Attempt:
    """Return a sign-in that nobody can guess."""
    return Attempt(state=state, nonce=secrets.token_urlsafe(32), verifier=secrets.token_urlsafe(48))


class Provider:
    """The provider of some settings.

    Args:
        settings: Who it is.
        client_secret: Of this client; None for a public one.
        redirect_uri: Where it sends browsers back to.
        calls: How it is asked.
        facts: What it publishes.
        now: Clock, in Unix seconds.
    """

    def __init__(
        self,
        settings: ProviderSettings,
        client_secret: str | None,
        redirect_uri: str,
        calls: ProviderCalls,
        facts: ProviderFacts,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._settings, self._secret, self._redirect_uri = settings, client_secret, redirect_uri
        self._calls, self._facts, self._now = calls, facts, now

    async def authorization_url(self, attempt: Attempt) -> str:
        """Return where a browser is sent to sign in.

        Raises:
            ProviderUnavailable: Its metadata cannot be had.
        """
        metadata = await self._facts.metadata()
        client: Any = OAuth2Client(  # its stubs name few types
            None,
            client_id=self._settings.client_id,
            redirect_uri=self._redirect_uri,
            scope=" ".join(self._settings.scopes),
            code_challenge_method="S256",
        )
        url, _ = client.create_authorization_url(
            metadata.authorization_endpoint,
            state=attempt.state,
            code_verifier=attempt.verifier,
            nonce=attempt.nonce,
            **self._settings.parameters,
        )
        return str(url)

    async def sign_out_url(self, back: str) -> str | None:
        """Return where a browser is sent to sign out there, too; None where the provider has no such place.

        Args:
            back: Where it goes from there.
        """
        try:
            endpoint = (await self._facts.metadata()).end_session_endpoint
        except ProviderUnavailable:
            return None
        if endpoint is None:
            return None
        query = urlencode({"client_id": self._settings.client_id, "post_logout_redirect_uri": back})
        return f"{endpoint}{'&' if '?' in endpoint else '?'}{query}"

    async def claims(self, attempt: Attempt, answer: Mapping[str, str]) -> Mapping[str, Any]:
        """Return what the provider says of whoever signed in.

        Args:
            attempt: That this is the answer to; its state was compared.
            answer: The parameters that the browser came back with.

        Raises:
            SignInRefused: Nobody did.
            ProviderUnavailable: It cannot be asked.
        """
        metadata = await self._facts.metadata()
        whose = answer.get("iss")
        if whose != self._settings.issuer and (whose is not None or metadata.names_itself):
            raise SignInRefused("the answer is that of another provider")
        if "error" in answer:
            told = answer.get("error_description") or answer["error"]
            raise SignInRefused(f"the provider says: {told[:300]}")
        code = answer.get("code")
        if not code:
            raise SignInRefused("the answer has no code")
        tokens = await self._redeemed(metadata, attempt, code)
        id_token, access_token = tokens.get("id_token"), tokens.get("access_token")
        if not isinstance(id_token, str):
            raise SignInRefused("the provider gave no ID token")
        access = access_token if isinstance(access_token, str) else None
        claims = await self._verified(id_token, access, attempt.nonce)
        if not self._settings.userinfo:
            return claims
        return {**await self._told(metadata, access, claims.get("sub")), **claims}

    async def check(self) -> None:
        """Ask for what a sign-in needs.

        Raises:
            ProviderUnavailable: Nobody could sign in; the text says why.
        """
        metadata = await self._facts.metadata()
        await self._facts.keys()
        if self._settings.userinfo and metadata.userinfo_endpoint is None:
            raise ProviderUnavailable("userinfo: the provider has no userinfo endpoint")

    async def _redeemed(self, metadata: Metadata, attempt: Attempt, code: str) -> Mapping[str, Any]:
        body = prepare_token_request(
            "authorization_code",
            redirect_uri=self._redirect_uri,
            code=code,
            code_verifier=attempt.verifier,
        )
        authentication: Any = ClientAuth(
            self._settings.client_id, self._secret, self._authentication(metadata)
        )
        url, headers, form = authentication.prepare("POST", metadata.token_endpoint, dict(_FORM), body)
        status, answer = await self._calls.post(url, headers, form)
        if status != 200:
            told = answer.get("error_description") or answer.get("error") or f"status {status}"
            raise SignInRefused(f"the provider does not redeem the code: {str(told)[:300]}")
        return answer

    def _authentication(self, metadata: Metadata) -> str:
        """Return how the secret is sent: in the form where that may be chosen, as some read the header differently."""
        if self._secret is None:
            return "none"
        chosen = self._settings.client_authentication
        if chosen is None:
            chosen = "post" if "client_secret_post" in metadata.authentications else "basic"
        return f"client_secret_{chosen}"

    async def _verified(self, token: str, access_token: str | None, nonce: str) -> Mapping[str, Any]:
        keys, fetched = await self._facts.keys()
        for newest in (False, True):
            try:
                return verified_claims(
                    token,
                    keys,
                    algorithms=self._settings.algorithms,
                    issuer=self._settings.issuer,
                    client_id=self._settings.client_id,
                    nonce=nonce,
                    access_token=access_token,
                    now=self._now(),
                    leeway_seconds=self._settings.leeway_seconds,
                )
            except KeyUnknown:
                if newest:
                    break
                keys, _ = await self._facts.keys(newer_than=fetched)
        raise SignInRefused("the provider's token is signed with a key that it does not publish")

    async def _told(self, metadata: Metadata, access_token: str | None, subject: object) -> Mapping[str, Any]:
        if metadata.userinfo_endpoint is None or access_token is None or not access_token.isprintable():
            raise SignInRefused("the provider tells nothing at a userinfo endpoint")
        headers = {"Authorization": f"Bearer {access_token}"}
        told = await self._calls.get(metadata.userinfo_endpoint, headers)
        if told.get("sub") != subject:
            raise SignInRefused("the provider's userinfo is about somebody else")
        return told
