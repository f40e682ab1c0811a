"""Texts that only this platform can read or make: encrypted and authenticated, under a key for each purpose."""

import hashlib
import hmac
import json
from collections.abc import Sequence
from typing import Final

from joserfc import jwe
from joserfc.errors import JoseError
from joserfc.jwk import OctKey

_HEADER: Final = {"alg": "dir", "enc": "A256GCM"}
_ALGORITHMS: Final = ("dir", "A256GCM")


class NotSealed(Exception):
    """A text was not sealed here for this purpose, or under a secret that is not known any more."""


class Sealer:
    """Seals and opens; JWE with a key that is used directly (RFC 7516, RFC 7518 section 4.5).

    Args:
        secrets: The present one, which seals, and those before it, which open only.
        purpose: What is sealed; what was sealed for another one does not open.
    """

    def __init__(self, secrets: Sequence[str], purpose: str) -> None:
        derived = [hmac.digest(secret.encode(), f"seal {purpose}".encode(), "sha256") for secret in secrets]
        self._keys = [OctKey.import_key(key) for key in derived]

    def seal(self, value: object) -> str:
        """Return a JSON value as a text of letters, digits, `-`, `_` and `.`."""
        text = json.dumps(value, separators=(",", ":"))
        return jwe.encrypt_compact(_HEADER, text, self._keys[0], algorithms=_ALGORITHMS)

    def open(self, text: str) -> object:
        """Return what was sealed.

        Raises:
            NotSealed: Nobody here did.
        """
        for key in self._keys:
            try:
                plain = jwe.decrypt_compact(text, key, algorithms=_ALGORITHMS).plaintext
                return json.loads(plain or b"")
            except (JoseError, ValueError, TypeError, KeyError):
                continue
        raise NotSealed("it was not sealed here, or under a secret that is not known any more")


def mark_key(secret: str, purpose: str) -> bytes:
    """Return the key of a purpose that marks texts without hiding them; 32 bytes."""
    return hmac.digest(secret.encode(), f"mark {purpose}".encode(), "sha256")


def fingerprint(secret: str) -> str:
    """Return what a database keeps of a secret that was made at random, so that it cannot be used from there."""
    return hashlib.sha256(secret.encode()).hexdigest()
