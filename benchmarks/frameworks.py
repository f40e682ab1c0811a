"""The frameworks under test: their profiles, interpreters, and agents."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from orchestrator_resources.environments import EnvironmentStore
from orchestrator_resources.homes import home_folder
from orchestrator_runtimes.profiles import FrameworkProfile, installed_frameworks

BENCHMARKS: Final = Path(__file__).parent
AGENTS: Final = BENCHMARKS / "agents"
BARE: Final = BENCHMARKS / "bare"

ENTRYPOINTS: Final[Mapping[str, str]] = {
    "agentscope": "agentscope_agent:agent",
    "agno": "agno_agent:agent",
    "crewai": "crewai_agent:crew",
    "langgraph": "langgraph_agent:agent",
    "lightagent": "lightagent_agent:agent",
}
"""What the guests are given; the bare runners import from the same files."""


class FrameworkMissing(Exception):
    """A framework cannot be measured: it is not known, or its environment is not installed."""


@dataclass(frozen=True, kw_only=True)
class Framework:
    """A framework that can be measured; `python` is its environment's interpreter."""

    profile: FrameworkProfile
    python: Path

    @property
    def name(self) -> str:
        """Name of the profile."""
        return self.profile.name


def find_frameworks(names: Sequence[str]) -> list[Framework]:
    """Return the named frameworks; all that have a benchmark when none is named.

    Raises:
        FrameworkMissing: With what to do.
    """
    unknown = [name for name in names if name not in ENTRYPOINTS]
    if unknown:
        raise FrameworkMissing(
            f"there is no benchmark of {unknown[0]!r}, only of {', '.join(sorted(ENTRYPOINTS))}"
        )
    return [find_framework(name) for name in names or sorted(ENTRYPOINTS)]


def find_framework(name: str) -> Framework:
    """Return a framework whose environment is installed.

    Raises:
        FrameworkMissing: With what to do.
    """
    profile = installed_frameworks().get(name)
    if profile is None:
        raise FrameworkMissing(f"the framework {name!r} is not known here")
    environment = EnvironmentStore(home_folder()).find(profile.lock())
    if environment is None:
        raise FrameworkMissing(f"{name} is not installed: run `make runtimes FRAMEWORK={name}`")
    return Framework(profile=profile, python=environment.python)
