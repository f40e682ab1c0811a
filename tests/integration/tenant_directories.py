"""A directory of tenants that a test changes while others read it."""

from collections.abc import Mapping
from typing import Any, Final

from orchestrator_tenancy.tenants import Tenancy, read_tenancy


class Directory:
    """Tenants.

    Args:
        written: Organisations, plans and tenants, as in a file.
    """

    def __init__(self, written: Mapping[str, Any]) -> None:
        self._written: Final = dict(written)
        self.now: Tenancy = read_tenancy(self._written)

    def tenancy(self) -> Tenancy:
        """Return what holds now."""
        return self.now

    def change(self, **tenants: Mapping[str, Any] | None) -> None:
        """Put other tenants in the place of some of those from the beginning, or take some of these away by None."""
        changed = {**self._written["tenants"], **tenants}
        kept = {name: tenant for name, tenant in changed.items() if tenant is not None}
        self.now = read_tenancy({**self._written, "tenants": kept})
