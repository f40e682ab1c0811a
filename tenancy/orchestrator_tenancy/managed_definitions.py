"""The module of every managed location: `dagster code-server start -m orchestrator_tenancy.managed_definitions`.

Whose location it is, and where its YAML lies, is said by whoever starts the code server and its runs, by environment:
`ORCHESTRATOR_TENANT` and, where it is not `/opt/location`, `ORCHESTRATOR_DEFINITIONS`.
"""

import os
from pathlib import Path
from typing import Final

import dagster as dg

from orchestrator_tenancy.custom_locations import tenant_of_environment
from orchestrator_tenancy.managed.loading import managed_definitions

DEFINITIONS: Final = "ORCHESTRATOR_DEFINITIONS"

FOLDER: Final = "/opt/location"
"""Where the YAML lies in an image, unless `DEFINITIONS` says otherwise."""


@dg.definitions
def defs() -> dg.Definitions:
    """Return the definitions of the managed location that the environment names."""
    return managed_definitions(Path(os.environ.get(DEFINITIONS) or FOLDER), tenant_of_environment())
