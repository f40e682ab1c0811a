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
    profiles, store = installed_frameworks(), EnvironmentStore(home_folder())
    found: list[Framework] = []
    for name in names or sorted(ENTRYPOINTS):
        if name not in profiles or name not in ENTRYPOINTS:
            raise FrameworkMissing(
                f"there is no benchmark of {name!r}, only of {', '.join(sorted(ENTRYPOINTS))}"
            )
        environment = store.find(profiles[name].lock())
        if environment is None:
            raise FrameworkMissing(f"{name} is not installed: run `make runtimes FRAMEWORK={name}`")
        found.append(Framework(profile=profiles[name], python=environment.python))
    return found
