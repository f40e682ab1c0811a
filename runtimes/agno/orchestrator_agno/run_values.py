"""From an execution's inputs to what `arun` takes, and from what it returns to an output or a failure."""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from agno.agent import Agent
from agno.team import Team
from agno.workflow import Workflow
from agno.workflow.types import StepOutput
from pydantic import BaseModel

from orchestrator_runtimes.json_values import Json


class AgnoFailed(Exception):
    """Agno returned a failure, where other frameworks raise."""


def native_input(agent: Agent | Team | Workflow, inputs: Json) -> Any:
    """Return the input of `arun`.

    Text is the user's message. An object goes as it is to a workflow and to an agent with an input schema; to others,
    like any other JSON, as text.
    """
    if isinstance(inputs, str):
        return inputs
    if isinstance(inputs, Mapping) and (isinstance(agent, Workflow) or agent.input_schema is not None):
        return dict(inputs)
    return json.dumps(inputs)


def check_finished(status: str, content: Any, steps: Iterable[Any]) -> None:
    """Check what Agno says of a run that it returned.

    Args:
        status: Value of `RunStatus`.
        content: Of the run; the message of the failure when there is one.
        steps: Results of a workflow's steps, nested lists for parallel ones; a failed one does not change the status.

    Raises:
        AgnoFailed: The run or one of its steps did not complete.
    """
    if status == "PAUSED":
        raise AgnoFailed(
            "a step of the workflow waits for a person, and this runtime asks for agents and teams only; decide inside"
            " the workflow, or let an agent or a team ask that is an asset of its own"
        )
    if status != "COMPLETED":
        raise AgnoFailed(f"the run ended as {status}: {content}")
    for step in _flat(steps):
        if not step.success:
            raise AgnoFailed(f"the step {step.step_name!r} failed: {step.error or step.content}")


def _flat(steps: Iterable[Any]) -> Iterable[StepOutput]:
    for step in steps:
        if isinstance(step, StepOutput):
            yield step
            yield from _flat(step.steps or ())
        elif isinstance(step, list):
            yield from _flat(step)


def plain(content: Any) -> object:
    """Return a run's content as JSON where its type says how; the worker refuses what is left."""
    if content is None:
        return ""
    return content.model_dump(mode="json") if isinstance(content, BaseModel) else content
