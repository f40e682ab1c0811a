"""The code location of a storm: an asset for each agent; what it is given is in `STORM_LOCATION`."""

import json
import os
from pathlib import Path
from typing import Any

import dagster as dg

from orchestrator_sensors import PublishedAgentComponent


def _definitions() -> dg.Definitions:
    told = json.loads(os.environ["STORM_LOCATION"])

    def made(agent: str) -> dg.Definitions:
        attributes: dict[str, Any] = {
            "bundle": f"acme/{agent}",
            "marketplace": told["marketplace"],
            "trust": "trust.yaml",
            "framework": "fake",
            "inputs": {"text": {"value": "hello"}},
            "prompt": "say {text}",
            "retries": {"max": 0},
            "asset": {"key": f"acme/{agent}"},
            **told["attributes"],
        }
        component: PublishedAgentComponent = PublishedAgentComponent.resolve_from_dict(attributes)
        return component.made_in(Path(told["folder"], "trust"))

    return dg.Definitions.merge(*map(made, told["agents"]))


defs = _definitions()
