"""Which of a native agent's own tools may run only once, and which run again in a retry."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from orchestrator_runtimes.errors import AgentError, ErrorCode
from orchestrator_runtimes.json_values import Json

ONCE: Final = "once"
AGAIN: Final = "again"


@dataclass(frozen=True, kw_only=True)
class ToolRules:
    """Options of a native agent, so that its code imports nothing of ours.

    Attributes:
        once: Names of tools that may never run a second time: a retry that does not know the result of one ends.
        again: Names of tools that are not journaled: a retry calls them again, since what they do is in the process.
    """

    once: frozenset[str] = frozenset()
    again: frozenset[str] = frozenset()

    @classmethod
    def of(cls, options: Mapping[str, Json]) -> "ToolRules":
        """Read them from the options of an agent.

        Raises:
            AgentError: `agent_load_failed` when one is no list of names, or names a tool of the other.
        """
        rules = cls(once=_names(options, ONCE), again=_names(options, AGAIN))
        if both := sorted(rules.once & rules.again):
            raise AgentError(
                ErrorCode.AGENT_LOAD_FAILED,
                f"the tool {both[0]!r} is in both options.{ONCE} and options.{AGAIN}: choose one",
            )
        return rules

    def check(self, names: frozenset[str] | None) -> None:
        """Refuse rules for tools that the agent does not have: a slip would let one run twice.

        Args:
            names: Of its tools; None where they are not known before it runs, and nothing is refused.

        Raises:
            AgentError: `agent_load_failed`, with the name that no tool has and those that there are.
        """
        for option, told in ((ONCE, self.once), (AGAIN, self.again)):
            if names is not None and (unknown := sorted(told - names)):
                raise AgentError(
                    ErrorCode.AGENT_LOAD_FAILED,
                    f"options.{option} names {unknown[0]!r}, and no tool of the agent is called so; it has"
                    f" {', '.join(sorted(names)) or 'none'}",
                )


def _names(options: Mapping[str, Json], option: str) -> frozenset[str]:
    match options.get(option, []):
        case [*found] if all(isinstance(name, str) for name in found):
            return frozenset(str(name) for name in found)
        case found:
            raise AgentError(
                ErrorCode.AGENT_LOAD_FAILED,
                f"options.{option} must be a list of names of tools, got {found!r:.100}",
            )
