"""Texts of run state, sealed by the key of the run's tenant where it has one."""

import os
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from orchestrator_gateway.payloads import SEALED_TEXT
from orchestrator_gateway.tenant_keys import BadKeyFile, KeyFile, TenantKey
from orchestrator_runtimes.errors import AgentError, ErrorCode

KEYS_FILE: Final = "ORCHESTRATOR_TENANT_KEYS_FILE"
"""Variable with the path of a file that holds the keys of the run's tenant, and of no other."""


_FOR_PEOPLE: Final = ("told",)
"""Place of texts that are for people, who may come upon them anywhere; of the tenant, as every place is."""


def tenant_keys_file() -> Path | None:
    """Return the file of the keys of this run's tenant; None when nothing is sealed."""
    file = os.environ.get(KEYS_FILE)
    return Path(file) if file else None


class SealedTexts:
    """Seals texts before they are kept, and opens them.

    Args:
        file: As `tenant_keys_file` returns it; without one texts stay as they are.

    Raises:
        AgentError: `invalid_input` when the file cannot be used, or what seals is not installed.
    """

    def __init__(self, file: Path | None) -> None:
        self._keys = None
        if file is None:
            return
        if find_spec("cryptography") is None:
            raise AgentError(
                ErrorCode.INVALID_INPUT, "keys of tenants need a library: install agent-orchestrator[keys]"
            )
        try:
            self._keys = KeyFile(file, of_one=True)
        except BadKeyFile as error:
            raise AgentError(ErrorCode.INVALID_INPUT, f"{KEYS_FILE}: {error}") from error

    @property
    def seals(self) -> bool:
        """Whether there is a key."""
        return self._keys is not None

    def seal(self, place: Sequence[str | int], text: str) -> str:
        """Return a text as it is kept; it opens at this place only."""
        if self._keys is None:
            return text
        from orchestrator_gateway.sealing import seal_text

        return seal_text(self._keys.of(""), place, text)

    def seal_for_people(self, text: str) -> str:
        """Return a text as it may stand where others read: those who have the key open it by `open_for_people`."""
        return self.seal(_FOR_PEOPLE, text)

    def open_for_people(self, sealed: str) -> str:
        """Return what `seal_for_people` sealed.

        Raises:
            AgentError: As `open`.
        """
        return self.open(_FOR_PEOPLE, sealed)

    def open(self, place: Sequence[str | int], kept: str) -> str:
        """Return a text that was kept; one from before there were keys stays as it is.

        Raises:
            AgentError: `state_unavailable` when it does not open.
        """
        if not kept.startswith(SEALED_TEXT):
            return kept
        if self._keys is None:
            raise _lost(f"it is sealed, and {KEYS_FILE} names no keys")
        from orchestrator_gateway.sealing import NotOpened, unseal_text

        try:
            return unseal_text(self._keys.of(""), place, kept)
        except NotOpened as error:
            raise _lost(str(error)) from error

    def scope(self, text: str) -> str:
        """Return what executions are named by: digests of it and of inputs tell these to nobody who lacks the key."""
        return text if self._keys is None else self._keys.of("").mark(text)


def opened_for_people(key: TenantKey, sealed: str) -> str:
    """Return what `SealedTexts.seal_for_people` sealed by a key.

    Raises:
        AgentError: `state_unavailable` when it does not open.
    """
    from orchestrator_gateway.sealing import NotOpened, unseal_text

    try:
        return unseal_text(key, _FOR_PEOPLE, sealed)
    except NotOpened as error:
        raise _lost(str(error)) from error


def _lost(why: str) -> AgentError:
    return AgentError(ErrorCode.STATE_UNAVAILABLE, "what a run left does not open", cause=why)
