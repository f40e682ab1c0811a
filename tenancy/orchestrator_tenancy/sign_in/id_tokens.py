"""ID tokens: whether one is the provider's, for this client and this sign-in (OpenID Connect Core 1.0, 3.1.3.7)."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from authlib.oidc.core import CodeIDToken
from joserfc import jwt
from joserfc.errors import (
    ExpiredTokenError,
    InvalidClaimError,
    InvalidKeyIdError,
    JoseError,
    MissingClaimError,
)
from joserfc.jwk import KeySet

from orchestrator_tenancy.sign_in.refusals import SignInRefused

LONGEST_CHARACTERS: Final = 100_000


class KeyUnknown(Exception):
    """The token names a key that is not among these: the provider may have changed its keys."""


def verified_claims(
    token: str,
    keys: KeySet,
    *,
    algorithms: Sequence[str],
    issuer: str,
    client_id: str,
    nonce: str,
    access_token: str | None,
    now: float,
    leeway_seconds: float,
) -> Mapping[str, Any]:
    """Return what an ID token says.

    Args:
        token: As the provider gave it.
        keys: Of the provider.
        algorithms: That it may be signed with.
        issuer: Who must have signed it.
        client_id: For whom it must be.
        nonce: Of the sign-in that it must be about.
        access_token: That came with it; checked where the token tells its hash.
        now: Unix time in seconds.
        leeway_seconds: How far the provider's clock may be from this one.

    Raises:
        KeyUnknown: See there.
        SignInRefused: It is none, or another's, or of another time.
    """
    if len(token) > LONGEST_CHARACTERS:
        raise SignInRefused(f"the provider's token has more than {LONGEST_CHARACTERS} characters")
    try:
        signed = jwt.decode(token, keys, algorithms=algorithms)
    except InvalidKeyIdError as error:
        raise KeyUnknown from error
    except (JoseError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise SignInRefused(
            f"the provider's token is not signed as it must be: {type(error).__name__}"
        ) from error
    claims = CodeIDToken(
        signed.claims,
        signed.header,
        options={
            "iss": {"essential": True, "value": issuer},
            "aud": {"essential": True, "value": client_id},
        },
        params={"nonce": nonce, "client_id": client_id, "access_token": access_token},
    )
    try:
        claims.validate(now=int(now), leeway=int(leeway_seconds))
    except ExpiredTokenError as error:
        raise SignInRefused("the provider's token has expired: is a clock wrong?") from error
    except (InvalidClaimError, MissingClaimError) as error:
        raise SignInRefused(f"the provider's token is not for this sign-in: claim {error.claim!r}") from error
    except (JoseError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise SignInRefused(f"the provider's token cannot be read: {type(error).__name__}") from error
    return dict(signed.claims)
