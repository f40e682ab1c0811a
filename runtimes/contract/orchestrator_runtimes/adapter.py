"""What a framework's plug-in implements: load an agent, run it. Everything else is the worker's."""

import inspect
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from orchestrator_runtimes.errors import AgentError, ErrorCode
from orchestrator_runtimes.execution import Execution
from orchestrator_runtimes.json_values import Json
from orchestrator_runtimes.messages import FinishReason, PortableAgent
from orchestrator_runtimes.profiles import FrameworkProfile
from orchestrator_runtimes.tools import PortableTool


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What an agent produced.

    Attributes:
        output: JSON, or anything `dump` takes; the worker checks it.
        finish_reason: `interrupted` when the agent waits for a decision.
        native: The framework's own metrics.
    """

    output: object
    finish_reason: FinishReason = FinishReason.COMPLETED
    native: Mapping[str, Json] = field(default_factory=dict[str, Json])


class Adapter(ABC):
    """One framework in one guest process. Its constructor takes no arguments and may import the framework.

    The worker counts and limits model calls, judges their answers, times and cancels executions, keeps the
    context variable `CURRENT` set while `run` runs, and checks the output against its schema. The adapter
    turns what only the framework knows into the contract: its native types, its events, its way of reporting failure.
    """

    profile: FrameworkProfile

    @abstractmethod
    async def load_native(self, found: Any, options: Mapping[str, Json]) -> Any:
        """Return what `run` gets for the object that an entrypoint named: an object or a factory of a native type.

        Raises:
            AgentError: `agent_load_failed` when it is none of the framework's types, naming those that are.
        """

    async def made(self, found: Any, natives: Any) -> Any:
        """Return `found`, or what it makes when it is a class or a function (asynchronous, too).

        Args:
            found: What an entrypoint named.
            natives: The framework's own types, as `isinstance` takes them.

        Raises:
            AgentError: `agent_load_failed` when it is none of them.
        """
        factory = isinstance(found, type) or (callable(found) and not isinstance(found, natives))
        made = found() if factory else found
        if inspect.isawaitable(made):
            made = await made
        if not isinstance(made, natives):
            raise AgentError(
                ErrorCode.AGENT_LOAD_FAILED,
                f"a {type(made).__name__} is none of {', '.join(self.profile.native)}",
            )
        return made

    @abstractmethod
    def build_portable(self, agent: PortableAgent, tools: Sequence[PortableTool]) -> Any:
        """Return what `run` gets for a portable agent: the framework's native agent, built from the same words.

        Tools are given to the framework by name, description, parameters and `PortableTool.run`, which does the rest.
        """

    @abstractmethod
    async def run(self, agent: Any, execution: Execution) -> Outcome:
        """Run one execution of `agent`; hundreds run at once on one loop.

        Raises:
            Exception: Whatever the framework raises; the worker asks `translate`.
        """

    async def resume(self, agent: Any, execution: Execution, decision: Json) -> Outcome:
        """Go on with an interrupted execution, whose state is in its session.

        Only called when the profile declares `approval`.
        """
        raise RuntimeError(
            f"{self.profile.name} declares no approvals; {agent!r} got {decision!r} in {execution!r}"
        )

    def native_type(self, agent: Any) -> str:
        """Return the name of the native type behind what `load_native` or `build_portable` returned."""
        return type(agent).__name__

    def tool_names(self, agent: Any) -> frozenset[str] | None:
        """Return the names of the tools of what `load_native` returned; None where they are known only as it runs."""
        return None

    def translate(self, error: Exception) -> AgentError | None:
        """Return the error of the contract for one of the framework's own; None when it is not known."""
        return None

    def framework_version(self) -> str:
        """Return the version of the framework's distribution."""
        from importlib.metadata import version

        return version(self.profile.distribution)
