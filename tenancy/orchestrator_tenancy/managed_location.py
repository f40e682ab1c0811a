"""The module of every managed location: `dagster code-server start -m orchestrator_tenancy.managed_location`.

Whose location it is, and where its YAML lies, is said by whoever starts the code server and its runs, by environment:
`ORCHESTRATOR_TENANT` and `ORCHESTRATOR_DEFINITIONS`.
"""

import os
from pathlib import Path
from typing import Final

import dagster as dg

from orchestrator_tenancy.custom_locations import tenant_of_environment
from orchestrator_tenancy.managed.loading import managed_definitions
from orchestrator_tenancy.managed.refusals import NotManaged

DEFINITIONS: Final = "ORCHESTRATOR_DEFINITIONS"


@dg.definitions
def defs() -> dg.Definitions:
    """Return the definitions of the managed location that the environment names."""
    folder = os.environ.get(DEFINITIONS)
    if not folder:
        raise NotManaged(f"{DEFINITIONS} names no folder: it is set where the code server starts")
    return managed_definitions(Path(folder), tenant_of_environment())
