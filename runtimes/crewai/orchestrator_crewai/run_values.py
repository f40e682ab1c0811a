"""From an execution's inputs to what a crew or a flow takes, and from what it returns to an output."""

import json
from collections.abc import Mapping
from typing import Any

from crewai import CrewOutput
from crewai.flow.human_feedback import HumanFeedbackResult
from crewai.lite_agent_output import LiteAgentOutput
from pydantic import BaseModel

from orchestrator_runtimes.json_values import Json


def as_text(value: object) -> str:
    """Return JSON as what a user or an agent says: text as it is."""
    return value if isinstance(value, str) else json.dumps(value)


def named_inputs(inputs: Json) -> dict[str, Any]:
    """Return inputs by name: an object as it is, anything else as text by the name `input`."""
    return dict(inputs) if isinstance(inputs, Mapping) else {"input": as_text(inputs)}


def output_of(result: Any) -> object:
    """Return what a crew, an agent or a flow returned as JSON where its type says how; the worker refuses the rest."""
    if isinstance(result, CrewOutput):
        if result.pydantic is not None:
            return result.pydantic.model_dump(mode="json")
        return result.json_dict if result.json_dict is not None else result.raw
    if isinstance(result, LiteAgentOutput):
        return result.pydantic.model_dump(mode="json") if result.pydantic is not None else result.raw
    if isinstance(result, HumanFeedbackResult):
        said = {"output": output_of(result.output), "feedback": result.feedback}
        return said if result.outcome is None else {**said, "outcome": result.outcome}
    if isinstance(result, BaseModel):
        return result.model_dump(mode="json")
    return "" if result is None else result


def structured(output: object) -> object:
    """Return the value that a text writes as JSON; the text itself where it is none, for the schema to refuse."""
    if not isinstance(output, str):
        return output
    try:
        return json.loads(output)
    except ValueError:
        return output
