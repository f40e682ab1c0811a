"""Nobody answers in a guest: what asks a human ends its execution, where CrewAI would read from a terminal."""

from typing import Any, NoReturn

from crewai.core.providers.human_input import SyncHumanInputProvider, set_provider
from crewai.flow.flow_config import flow_config

from orchestrator_runtimes.errors import AgentError, ErrorCode
from orchestrator_runtimes.execution import CURRENT, ExecutionStopped


class Nobody(SyncHumanInputProvider):
    """Takes the place of the terminal, for tasks with `human_input=True`, `@human_feedback` and `Flow.ask`."""

    def handle_feedback(self, *_: Any, **__: Any) -> NoReturn:
        """Refuse a task's question."""
        raise refused("a task with human_input=True")

    async def handle_feedback_async(self, *_: Any, **__: Any) -> NoReturn:
        """Refuse a task's question."""
        raise refused("a task with human_input=True")

    def request_feedback(self, *_: Any, **__: Any) -> NoReturn:
        """Refuse the question of a method of a flow."""
        raise refused("a method with @human_feedback")

    def request_input(self, *_: Any, **__: Any) -> NoReturn:
        """Refuse the question of a flow."""
        raise refused("Flow.ask")


def refused(what: str) -> ExecutionStopped:
    """Return the end of the current execution; CrewAI would take an `Exception` for an empty answer."""
    error = AgentError(
        ErrorCode.FRAMEWORK_ERROR,
        f"{what} waits for a human, and this runtime cannot ask one; decide inside the agent, or give it a provider"
        " that answers by itself",
    )
    execution = CURRENT.get()
    if execution is not None:
        execution.stop(error)
    return ExecutionStopped(error)


def ask_nobody_in_flows() -> None:
    """Refuse what flows ask, where their author named no provider."""
    flow_config.hitl_provider = flow_config.input_provider = Nobody()


def ask_nobody_in_tasks() -> None:
    """Refuse what tasks ask, for the current execution."""
    set_provider(Nobody())
