"""Keys of tenants as a process is handed them: a file of JSON, tenant → version → key, read again when it changes."""

import base64
import binascii
import hmac
import json
import logging
import math
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final, TypeAlias, cast

LOG: Final = logging.getLogger("orchestrator_gateway")

KEY_BYTES: Final = 32
"""AES with 256 bits."""

SPREAD_SECONDS: Final = 180.0
"""See `KeyFile`: a kubelet shows pods a changed Secret within a minute or two."""

_LONGEST_BYTES: Final = 16 * 2**20
_State: TypeAlias = tuple[int, int, int]
_VERSION: Final = re.compile(r"[1-9][0-9]{0,8}")


class BadKeyFile(Exception):
    """A file of keys cannot be used; the text is one line that names it, and never what stands in it."""


class NoTenantKey(Exception):
    """A tenant has no key; nothing of it is kept in its place."""


@dataclass(frozen=True, kw_only=True)
class TenantKey:
    """What seals the data of one tenant.

    Attributes:
        tenant: Whose.
        versions: Keys by version; all of them open.
        sealing: The version that seals; None is the highest.
    """

    tenant: str
    versions: Mapping[int, bytes] = field(repr=False)
    sealing: int | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot seal."""
        if not self.versions:
            raise ValueError(f"tenant {self.tenant!r} has no version")
        if any(len(key) != KEY_BYTES for key in self.versions.values()):
            raise ValueError(f"a key of tenant {self.tenant!r} is not {KEY_BYTES} bytes long")

    @property
    def current(self) -> int:
        """The version that seals."""
        return max(self.versions) if self.sealing is None else self.sealing

    def mark(self, text: str) -> str:
        """Return what names a text to whoever has the key and tells nobody else what it is; 64 hexadecimal digits.

        It is of the first version, so that what was marked is still found after a rotation.
        """
        derived = hmac.digest(self.versions[min(self.versions)], b"mark", "sha256")
        return hmac.digest(derived, text.encode(errors="surrogatepass"), "sha256").hex()


class KeyFile:
    """The keys that a file holds now.

    Args:
        file: As `written_keys` wrote it; whoever replaces it renames another one over it.
        of_one: Whether it is of one tenant, whose key stands for whichever tenant is asked for: what a run keeps for
            itself names none.
        spread_seconds: For how long a version that comes into the file only opens: others that share a database get
            their file a little later, and must be able to read what is sealed.
        clock: Seconds that only grow.

    Raises:
        BadKeyFile: It cannot be used. One that becomes so later is told of once, and what it held before holds on.
    """

    def __init__(
        self,
        file: Path,
        *,
        of_one: bool = False,
        spread_seconds: float = SPREAD_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Read it."""
        self._file, self._of_one, self._spread_seconds, self._clock = file, of_one, spread_seconds, clock
        self._came = dict[tuple[str, int], float]()
        self._seen: _State | None = _state(file)
        self._told: _State | None = self._seen
        self._keys = self._read()

    def of(self, tenant: str) -> TenantKey:
        """Return the key of a tenant.

        Raises:
            NoTenantKey: It has none.
        """
        self._look()
        name = next(iter(self._keys)) if self._of_one else tenant
        if name not in self._keys:
            raise NoTenantKey(
                f"the tenant {tenant!r:.80} has no key in {str(self._file)!r}: nothing is kept for it"
            )
        return self._sealing(self._keys[name])

    def _look(self) -> None:
        state = _state(self._file)
        if state == self._seen:
            return
        try:
            before, self._keys, self._seen = self._keys, self._read(), state
            self._came = {
                (key.tenant, version): self._came.get((key.tenant, version), self._clock())
                for key in self._keys.values()
                for version in key.versions
                if (key.tenant, version) in self._came or not _had(before, key.tenant, version)
            }
        except BadKeyFile as error:
            if state != self._told:
                LOG.error("%s; the keys before it stay in force", error)
            self._told = state

    def _sealing(self, key: TenantKey) -> TenantKey:
        """Return a key that seals by the newest version that everybody has; by the newest where all are new."""
        since = self._clock() - self._spread_seconds
        spread = [n for n in key.versions if self._came.get((key.tenant, n), -math.inf) <= since]
        return replace(key, sealing=max(spread, default=None)) if len(spread) < len(key.versions) else key

    def _read(self) -> Mapping[str, TenantKey]:
        keys = read_keys(self._file)
        if self._of_one and len(keys) != 1:
            raise BadKeyFile(
                f"{str(self._file)!r}: must hold the keys of one tenant, and holds those of {len(keys)}"
            )
        return keys


def read_keys(file: Path) -> Mapping[str, TenantKey]:
    """Return the keys of a file by tenant.

    Raises:
        BadKeyFile: It cannot be used.
    """
    place = repr(str(file))
    try:
        with file.open("rb") as opened:
            content = opened.read(_LONGEST_BYTES + 1)
    except OSError as error:
        raise BadKeyFile(f"{place}: cannot be read: {error.strerror}") from error
    if len(content) > _LONGEST_BYTES:
        raise BadKeyFile(f"{place}: longer than {_LONGEST_BYTES} bytes")
    try:
        return {tenant: _key(tenant, versions) for tenant, versions in _object(json.loads(content)).items()}
    except (ValueError, RecursionError) as error:
        # the text of a decoding error may hold what stands there
        why = str(error) if type(error) is ValueError else "it is no JSON of tenants, their versions and keys"
        raise BadKeyFile(f"{place}: {why}") from None


def written_keys(keys: Mapping[str, TenantKey]) -> str:
    """Return what `read_keys` reads."""
    told = {
        tenant: {
            str(version): base64.b64encode(one).decode() for version, one in sorted(key.versions.items())
        }
        for tenant, key in sorted(keys.items())
    }
    return json.dumps(told, indent=2) + "\n"


def _key(tenant: str, versions: object) -> TenantKey:
    found = dict[int, bytes]()
    for version, text in _object(versions).items():
        if _VERSION.fullmatch(version) is None:
            raise ValueError(f"tenant {tenant!r:.80}: a version is a number from 1")
        try:
            found[int(version)] = base64.b64decode(text if isinstance(text, str) else "", validate=True)
        except binascii.Error:
            raise ValueError(f"tenant {tenant!r:.80}: version {version} is no base64") from None
    return TenantKey(tenant=tenant, versions=found)


def _had(keys: Mapping[str, TenantKey], tenant: str, version: int) -> bool:
    return tenant in keys and version in keys[tenant].versions


def _object(value: object) -> dict[str, object]:
    if not isinstance(value, dict):
        raise ValueError("it must be an object of tenants, each an object of versions")
    return cast("dict[str, object]", value)


def _state(file: Path) -> _State | None:
    """Return what is another one when a file is; None when there is none."""
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ino, found.st_size
