"""The JSON Schema of every message, made from the dataclasses.

`python -m orchestrator_runtimes.schema > contract.schema.json` writes the copy that is kept beside this module.
"""

import json

from orchestrator_runtimes.codec import schema
from orchestrator_runtimes.events import EventNotification
from orchestrator_runtimes.json_values import Json
from orchestrator_runtimes.messages import CONTRACT_VERSION, METHODS, Failure


def contract_schema() -> dict[str, Json]:
    """Return the schema: parameters and answer of each request, the event notification, the data of an error."""
    definitions: dict[str, Json] = {}
    requests: dict[str, Json] = {
        method: {"params": schema(parameters, definitions), "result": schema(answer, definitions)}
        for method, (parameters, answer) in METHODS.items()
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"Contract {CONTRACT_VERSION} between the orchestrator and its runtimes",
        "requests": requests,
        "notifications": {"event": {"params": schema(EventNotification, definitions)}},
        "error": {"data": schema(Failure, definitions)},
        "$defs": definitions,
    }


def schema_text() -> str:
    """Return the schema as it is kept in the repository."""
    return json.dumps(contract_schema(), indent=2, sort_keys=True) + "\n"


if __name__ == "__main__":
    print(schema_text(), end="")
