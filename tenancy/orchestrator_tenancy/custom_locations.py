"""What a custom location does about names: its team writes them whole, and what is not the tenant's is refused.

Nothing is renamed here: Python refers to keys and names in many places, and a half of them renamed is worse than none.
The platform looks again at what the location tells (`checked_locations`), which need not have come by here.
"""

import os
import re
from typing import Final

import dagster as dg

from orchestrator_tenancy.location_names import foreign_names
from orchestrator_tenancy.names import name_prefix
from orchestrator_tenancy.tenants import TENANT_NAME

TENANT: Final = "ORCHESTRATOR_TENANT"
"""Whose a code server or run is; set by whoever starts it."""

_SHOWN: Final = 5


class ForeignNames(ValueError):
    """A code location has names that are not its tenant's; the text lists some, and says how they begin."""


def refuse_foreign(found: list[str], tenant: str, what: str) -> None:
    """Refuse names that are not a tenant's.

    Args:
        found: They.
        tenant: Whose they must be.
        what: Has them, as errors call it.

    Raises:
        ForeignNames: There are some.
    """
    if found:
        shown = ", ".join(name[:200] for name in found[:_SHOWN])
        more = f", and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
        raise ForeignNames(
            f"{what} has names that are not of the tenant {tenant!r}: {shown}{more}; asset keys begin with"
            f" {f'{tenant}/'!r}, other names with {name_prefix(tenant)!r}"
        )


def tenant_of_environment() -> str:
    """Return the tenant that this process works for.

    Raises:
        ValueError: The environment names none.
    """
    tenant = os.environ.get(TENANT, "")
    if not re.fullmatch(TENANT_NAME, tenant):
        raise ValueError(
            f"{TENANT} is {tenant[:80]!r}, which is no tenant's name: it is set where the code server starts"
        )
    return tenant


def tenant_definitions(definitions: dg.Definitions, tenant: str | None = None) -> dg.Definitions:
    """Return the definitions of a custom location, once all of their names are the tenant's.

    Args:
        definitions: All of the location's.
        tenant: Whose it is; None means that of `ORCHESTRATOR_TENANT`.

    Raises:
        ForeignNames: They have others.
    """
    whose = tenant_of_environment() if tenant is None else tenant
    refuse_foreign(foreign_names(definitions, whose), whose, "the code location")
    return definitions
