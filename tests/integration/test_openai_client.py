"""An official OpenAI client finds in the gateway what it expects of an endpoint."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from orchestrator_resources.environments import EnvironmentStore
from orchestrator_resources.homes import home_folder
from orchestrator_runtimes.conformance.model_endpoint import ModelEndpoint
from orchestrator_runtimes.conformance.scripts import Fault, FaultKind, Script
from orchestrator_runtimes.profiles import installed_frameworks
from tests.integration.gateway_services import gateway_service

CLIENT = Path(__file__).with_name("openai_client.py")
TEXT = "It is sunny in Paris, 21 C."


@pytest.mark.parametrize("framework", ["langgraph", "lightagent"])
def test_what_a_client_sends_works_or_gets_an_error_that_it_reads(
    tmp_path: Path, endpoint: ModelEndpoint, framework: str
) -> None:
    endpoint.reset()
    busy = Script(faults=(Fault(kind=FaultKind.STATUS, status=429, retry_after=20),))
    configuration = {
        "upstreams": {
            "near": {"base_url": endpoint.script("near", Script())},
            "busy": {"base_url": endpoint.script("busy", busy)},
        },
        "models": {
            "fast": {"targets": [{"upstream": "near", "model": "small"}]},
            "broken": {"targets": [{"upstream": "busy", "model": "small"}]},
        },
    }
    environment = EnvironmentStore(home_folder()).find(installed_frameworks()[framework].lock())
    assert environment is not None, "make runtimes installs it"
    with gateway_service(tmp_path, configuration) as service:
        address = service.model(seconds=15)
        done = subprocess.run(
            [str(environment.python), str(CLIENT), address.base_url],
            input=str(address.api_key),
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
        )
    assert done.returncode == 0, done.stderr[-3_000:]
    found = json.loads(done.stdout)
    assert found == {
        "models": ["broken", "fast"],
        "model": "fast",
        "plain": TEXT,
        "streamed": TEXT,
        "usage": True,
        "tool": "weather",
        "logprobs": TEXT,
        "parsed": True,
        "response": TEXT,
        "response_streamed": TEXT,
        "embedding": 2,
        "unknown": "model_not_found",
        "files": found["files"],
        "token": found["token"],
        "limited": "20",
    }
    assert "the gateway serves no '/v1/files'" in found["files"] and "no token" in found["token"]
    logprobs = [call.body for call in endpoint.calls_of("near") if call.body and "logprobs" in call.body]
    assert logprobs[0]["top_logprobs"] == 2 and logprobs[0]["model"] == "small"
    bodies: list[Any] = [call.body for call in endpoint.calls if call.body and "response_format" in call.body]
    asked = bodies[0]["response_format"]
    assert asked["type"] == "json_schema" and asked["json_schema"]["strict"]
