"""A team's code location: one agent in YAML."""

from pathlib import Path

import dagster as dg


@dg.definitions
def defs() -> dg.Definitions:
    """Load the components."""
    return dg.load_from_defs_folder(path_within_project=Path(__file__).parent)
