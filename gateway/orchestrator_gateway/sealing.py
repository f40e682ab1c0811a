"""Bytes that only the key of a tenant opens, and only where they were put: AES-256-GCM (NIST SP 800-38D).

What is sealed begins with a mark, which nothing compressed by zlib begins with, and the version of its key; where it
belongs (tenant, execution, row) is authenticated beside it, so that nobody can move it to another place.

Nonces are random: one version may seal 2**32 times (SP 800-38D, section 8.3), which `orchestrator tenants keys rotate`
begins anew.
"""

import base64
import binascii
import json
import secrets
from collections.abc import Sequence
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from orchestrator_gateway.payloads import SEALED, SEALED_TEXT
from orchestrator_gateway.tenant_keys import TenantKey

_VERSION_BYTES: Final = 4
_NONCE_BYTES: Final = 12


class NotOpened(Exception):
    """Something does not open: its key is gone, it was changed, or it is not where it was put."""


def seal(key: TenantKey, place: Sequence[str | int], data: bytes) -> bytes:
    """Return data sealed by the current version of a key.

    Args:
        key: Of the tenant.
        place: Where it is kept; it opens nowhere else.
        data: What nobody else may read.
    """
    nonce = secrets.token_bytes(_NONCE_BYTES)
    sealed = AESGCM(key.versions[key.current]).encrypt(nonce, data, _named(key, place))
    return SEALED + key.current.to_bytes(_VERSION_BYTES) + nonce + sealed


def unseal(key: TenantKey, place: Sequence[str | int], data: bytes) -> bytes:
    """Return what was sealed.

    Raises:
        NotOpened: It is not of this key, or not of this place.
    """
    start = len(SEALED) + _VERSION_BYTES
    version = int.from_bytes(data[len(SEALED) : start])
    nonce, sealed = data[start : start + _NONCE_BYTES], data[start + _NONCE_BYTES :]
    if not is_sealed(data) or len(nonce) < _NONCE_BYTES:
        raise NotOpened("it is not sealed")
    if version not in key.versions:
        raise NotOpened(f"version {version} of the key of {key.tenant!r:.80} is not there")
    try:
        return AESGCM(key.versions[version]).decrypt(nonce, sealed, _named(key, place))
    except InvalidTag:
        raise NotOpened(f"it was changed, moved, or sealed by another key of {key.tenant!r:.80}") from None


def is_sealed(data: bytes) -> bool:
    """Return whether bytes say that they are sealed."""
    return data.startswith(SEALED)


def as_text(sealed: bytes) -> str:
    """Return what was sealed as a text without spaces."""
    return SEALED_TEXT + base64.urlsafe_b64encode(sealed).decode()


def of_text(text: str) -> bytes:
    """Return what `as_text` made a text of.

    Raises:
        NotOpened: It is none.
    """
    try:
        return base64.urlsafe_b64decode(text.removeprefix(SEALED_TEXT))
    except (binascii.Error, ValueError):
        raise NotOpened("it is not sealed") from None


def seal_text(key: TenantKey, place: Sequence[str | int], text: str) -> str:
    """Return a text sealed, as a text; see `seal`."""
    return as_text(seal(key, place, text.encode(errors="surrogatepass")))


def unseal_text(key: TenantKey, place: Sequence[str | int], text: str) -> str:
    """Return a text that was sealed; see `unseal`."""
    return unseal(key, place, of_text(text)).decode(errors="surrogatepass")


def is_sealed_text(text: str) -> bool:
    """Return whether a text says that it is sealed."""
    return text.startswith(SEALED_TEXT)


def _named(key: TenantKey, place: Sequence[str | int]) -> bytes:
    return json.dumps([key.tenant, *place]).encode()
