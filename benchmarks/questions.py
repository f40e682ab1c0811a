"""What executions are asked, and how a right answer is told from somebody else's."""

from collections.abc import Mapping
from typing import cast

from orchestrator_runtimes.json_values import Json


def question(number: int) -> str:
    """Return the prompt of one execution, with its marker."""
    return f"What is the weather in Paris? EXEC-{number}."


def webhook_body(number: int) -> dict[str, Json]:
    """Return what a webhook is sent for one execution."""
    return {"question": question(number)}


def inputs(framework: str, number: int) -> Json:
    """Return the inputs of one execution; a crew takes them by name, a workflow as its webhook makes them."""
    if framework == "n8n":
        return {"body": webhook_body(number)}
    return {"prompt": question(number)} if framework == "crewai" else question(number)


def answered(output: object, number: int) -> bool:
    """Return whether an output ends with the marker of its own prompt; a workflow's is an item with `output`."""
    if isinstance(output, Mapping):
        output = cast("Mapping[str, object]", output).get("output")
    return str(output).endswith(f"EXEC-{number}")
