"""What is known of an installed distribution: the tools that every agent here reads facts with.

They run beside the agent, in its framework's environment, and read that environment.
"""

from importlib.metadata import Distribution, PackageNotFoundError, distribution
from typing import Annotated

CHARACTERS = 240


def read_licence(name: Annotated[str, "name of the distribution"]) -> str:
    """Read the licence that a Python distribution declares."""
    found = _find(name)
    if found is None:
        return f"no distribution {name} is installed"
    fields = found.metadata.get_all("License-Expression") or found.metadata.get_all("License") or [""]
    declared = str(fields[0]).strip()
    classifiers = [c for c in found.metadata.get_all("Classifier") or [] if c.startswith("License ::")]
    words = [declared.splitlines()[0] if declared else "", *classifiers]
    return "; ".join(filter(None, words))[:CHARACTERS] or "no licence is declared"


def read_requirements(name: Annotated[str, "name of the distribution"]) -> str:
    """Read which other distributions a Python distribution requires."""
    found = _find(name)
    if found is None:
        return f"no distribution {name} is installed"
    names = [line.split(";")[0].strip() for line in found.requires or [] if "extra ==" not in line]
    return f"{len(names)} requirements: {', '.join(names)}"[:CHARACTERS]


def _find(name: str) -> Distribution | None:
    try:
        return distribution(name.strip())
    except (PackageNotFoundError, ValueError):
        return None
